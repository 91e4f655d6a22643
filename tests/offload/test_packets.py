"""Packets keep their order and their ends, also when the other side goes."""

from meantime.offload import packets


def test_the_last_words_of_one_that_goes_are_heard_although_it_reads_no_more():
    ours, theirs = packets.socket_pair()
    with ours:
        with theirs:
            packets.send(theirs, packets.LEAVING)
            packets.send(ours, packets.JOB, b"too late")
        leaving = packets.receive(ours)
        assert leaving is not None
        assert leaving.kind == packets.LEAVING
        assert packets.receive(ours) is None
