"""Socket addresses, between Python's tuples and the kernel's structures."""
import os

from libc.string cimport memset

from meantime._core.kernel cimport (
    AF_INET,
    AF_INET6,
    AF_UNIX,
    getpeername,
    getsockname,
    htonl,
    htons,
    inet_ntop,
    inet_pton,
    ntohl,
    ntohs,
    sockaddr,
    sockaddr_in,
    sockaddr_in6,
    sockaddr_storage,
    sockaddr_un,
    socklen_t,
)

cdef enum:
    UNIX_PATH_OFFSET = 2
    TEXT_SIZE_BYTES = 64


cdef object address_from(const sockaddr *address, socklen_t length):
    """Return what the socket module would: a tuple, a path, or None for a family unknown here."""
    cdef char[TEXT_SIZE_BYTES] text
    cdef const sockaddr_in *ip4 = <const sockaddr_in *>address
    cdef const sockaddr_in6 *ip6 = <const sockaddr_in6 *>address
    cdef const char *path
    cdef Py_ssize_t size
    if length < sizeof(unsigned short):
        return None
    if address.sa_family == AF_INET:
        inet_ntop(AF_INET, &ip4.sin_addr, text, TEXT_SIZE_BYTES)
        return (text.decode("ascii"), ntohs(ip4.sin_port))
    if address.sa_family == AF_INET6:
        inet_ntop(AF_INET6, &ip6.sin6_addr, text, TEXT_SIZE_BYTES)
        return (text.decode("ascii"), ntohs(ip6.sin6_port), ntohl(ip6.sin6_flowinfo),
                ip6.sin6_scope_id)
    if address.sa_family == AF_UNIX:
        path = (<const sockaddr_un *>address).sun_path
        size = length - UNIX_PATH_OFFSET
        if size > 0 and path[0] == 0:
            return path[:size]  # An abstract name is bytes, and may hold zeros.
        while size > 0 and path[size - 1] == 0:
            size -= 1
        return os.fsdecode(path[:size])
    return None


cdef socklen_t address_to(object address, int family, sockaddr_storage *result) except? 0:
    """Fill in `result`. Returns its length, or 0 when the address is none that we can write.

    Names are not resolved here.
    """
    cdef sockaddr_in *ip4 = <sockaddr_in *>result
    cdef sockaddr_in6 *ip6 = <sockaddr_in6 *>result
    cdef bytes host
    if type(address) is not tuple or len(address) < 2 or type(address[0]) is not str:
        return 0
    if type(address[1]) is not int or not 0 <= address[1] <= 65535:
        return 0
    host = (<str>address[0]).encode("utf-8")
    if b"\0" in host:
        # C would take what stands before it for the whole address.
        return 0
    memset(result, 0, sizeof(sockaddr_storage))
    if family == AF_INET and len(address) == 2:
        ip4.sin_family = AF_INET
        ip4.sin_port = htons(address[1])
        return sizeof(sockaddr_in) if inet_pton(AF_INET, host, &ip4.sin_addr) == 1 else 0
    if family == AF_INET6 and len(address) <= 4:
        ip6.sin6_family = AF_INET6
        ip6.sin6_port = htons(address[1])
        if len(address) > 2:
            ip6.sin6_flowinfo = htonl(address[2])
        if len(address) > 3:
            ip6.sin6_scope_id = address[3]
        return sizeof(sockaddr_in6) if inet_pton(AF_INET6, host, &ip6.sin6_addr) == 1 else 0
    return 0


cdef object name_of(int fd, bint of_peer):
    """Return the socket's own address, or its peer's; None when it has none."""
    cdef sockaddr_storage address
    cdef socklen_t length = sizeof(address)
    cdef int result
    if of_peer:
        result = getpeername(fd, <sockaddr *>&address, &length)
    else:
        result = getsockname(fd, <sockaddr *>&address, &length)
    return address_from(<sockaddr *>&address, length) if result == 0 else None
