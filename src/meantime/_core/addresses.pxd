from meantime._core.kernel cimport sockaddr, sockaddr_storage, socklen_t

cdef object address_from(const sockaddr *address, socklen_t length)
cdef socklen_t address_to(object address, int family, sockaddr_storage *result) except? 0
cdef object name_of(int fd, bint of_peer)
