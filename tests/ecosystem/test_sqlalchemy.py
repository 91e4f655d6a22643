"""SQLAlchemy's asyncio engine: greenlets that switch inside a task. And the page on databases."""

import asyncio
import contextlib

import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from tests.ecosystem.pages import (
    Page,
    check_installation,
    check_nothing_is_left_out,
    run_command,
)

PAGE = Page("databases")

pytestmark = pytest.mark.slow


# --- The page -------------------------------------------------------------------------------------


def test_the_page_says_what_to_install():
    check_installation(PAGE)
    check_nothing_is_left_out(PAGE, "python")


@pytest.mark.parametrize("command", PAGE.commands_with("python"), ids=str)
def test_every_program_of_the_page_prints_what_is_promised(command, backend, tmp_path):
    PAGE.write_files(tmp_path)
    done = run_command(command, tmp_path, backend)
    assert done.stdout.strip() == command.output
    assert done.returncode == 0


# --- The engine -----------------------------------------------------------------------------------


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "author"
    name: Mapped[str] = mapped_column(primary_key=True)
    books: Mapped[list["Book"]] = relationship(back_populates="author")


class Book(Base):
    __tablename__ = "book"
    title: Mapped[str] = mapped_column(primary_key=True)
    author_name: Mapped[str] = mapped_column(sqlalchemy.ForeignKey("author.name"))
    author: Mapped[Author] = relationship(back_populates="books")


@pytest.fixture(params=["sqlite+aiosqlite", "postgresql+asyncpg", "postgresql+psycopg"])
def url(request, tmp_path):
    if request.param.startswith("sqlite"):
        return f"{request.param}:///{tmp_path}/database.sqlite3"
    port = request.getfixturevalue("postgres_port")
    return f"{request.param}://tester@127.0.0.1:{port}/postgres"


@contextlib.asynccontextmanager
async def engine_of(url):
    """Yield an engine with empty tables, and leave none behind."""
    engine = create_async_engine(url, pool_size=3, max_overflow=0)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        yield engine
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.drop_all)
    finally:
        await engine.dispose()


def test_objects_come_back_as_they_went_in(run, url):
    async def main():
        async with engine_of(url) as engine:
            sessions = async_sessionmaker(engine, expire_on_commit=False)
            async with sessions() as session, session.begin():
                session.add(Author(name="Ada", books=[Book(title="Notes"), Book(title="Letters")]))
            async with sessions() as session:
                query = sqlalchemy.select(Book).order_by(Book.title)
                return [(book.title, book.author_name) for book in await session.scalars(query)]

    assert run(main()) == [("Letters", "Ada"), ("Notes", "Ada")]


def test_a_failed_transaction_leaves_nothing(run, url):
    async def insert_twice(engine):
        async with AsyncSession(engine) as session, session.begin():
            session.add(Author(name="Ada"))
            await session.flush()
            await session.execute(sqlalchemy.insert(Author).values(name="Ada"))

    async def main():
        async with engine_of(url) as engine:
            with pytest.raises(sqlalchemy.exc.IntegrityError):
                await insert_twice(engine)
            async with AsyncSession(engine) as session:
                return list(await session.scalars(sqlalchemy.select(Author.name)))

    assert run(main()) == []


def test_more_tasks_than_connections_take_turns(run, url):
    """The pool's queue is asyncio's own, awaited from inside a greenlet."""

    async def ask(engine, number):
        async with engine.connect() as connection:
            return await connection.scalar(sqlalchemy.select(sqlalchemy.literal(number)))

    async def main():
        async with engine_of(url) as engine:
            return await asyncio.gather(*[ask(engine, number) for number in range(30)])

    assert run(main()) == list(range(30))


def test_rows_can_be_streamed(run, url):
    async def main():
        async with engine_of(url) as engine, engine.connect() as connection:
            names = [{"name": f"{number:04}"} for number in range(2000)]
            await connection.execute(sqlalchemy.insert(Author), names)
            query = sqlalchemy.select(Author.name).order_by(Author.name)
            rows = [row.name async for row in await connection.stream(query)]
            await connection.rollback()
            return rows

    assert run(main()) == [f"{number:04}" for number in range(2000)]


def test_a_cancelled_task_gives_its_connection_back(run, url):
    """All of the pool's connections are taken by tasks that are cancelled while they wait."""

    async def hold(engine, has_it):
        async with engine.connect():
            has_it.set()
            await asyncio.Event().wait()

    async def main():
        async with engine_of(url) as engine:
            for _ in range(6):
                has_it = asyncio.Event()
                task = asyncio.create_task(hold(engine, has_it))
                await has_it.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            async with engine.connect() as connection:
                return await connection.scalar(sqlalchemy.select(sqlalchemy.literal("free")))

    assert run(main()) == "free"
