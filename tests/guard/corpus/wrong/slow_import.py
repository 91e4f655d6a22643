import asyncio
import sys
import tempfile
from pathlib import Path


async def main():
    import slow_module_of_the_corpus  # wrong: blocked import -> head of the module

    return slow_module_of_the_corpus


with tempfile.TemporaryDirectory() as folder:
    (Path(folder) / "slow_module_of_the_corpus.py").write_text("import time\ntime.sleep(0.3)\n")
    sys.path.insert(0, folder)
    asyncio.run(main())
