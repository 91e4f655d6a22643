/* Files without waiting: what the kernel has in memory is had at once, or refused with EAGAIN.
 *
 * preadv2 and pwritev2 take RWF_NOWAIT (Linux 4.14), openat2 takes RESOLVE_CACHED (Linux 5.12). The
 * C library may know neither, so these are raw system calls with the kernel's own numbers.
 * Source: preadv2(2), openat2(2).
 */
#ifndef MEANTIME_CACHED_H
#define MEANTIME_CACHED_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef __NR_openat2
#define __NR_openat2 437
#endif
#ifndef O_PATH
#define O_PATH 010000000
#endif

enum { CACHED_NOWAIT = 0x8, CACHED_RESOLVE = 0x20 };

struct cached_how {
    uint64_t flags;
    uint64_t mode;
    uint64_t resolve;
};

/* An offset of -1 means the file's own position, which moves on. The kernel takes the offset in two
 * halves; where a long holds all of it, the second one is not looked at. */
static inline ssize_t cached_transfer(long number, int fd, const struct iovec *parts,
                                      long part_count, int64_t offset)
{
    ssize_t count;
    do
        count = syscall(number, fd, parts, part_count, (long)offset, (long)(offset >> 31 >> 1),
                        (long)CACHED_NOWAIT);
    while (count < 0 && errno == EINTR);
    return count;
}

static inline ssize_t cached_read(int fd, void *memory, size_t size, int64_t offset)
{
    struct iovec part = {memory, size};
    return cached_transfer(__NR_preadv2, fd, &part, 1, offset);
}

/* Read a file from its beginning. Returns more than its size if it is larger than it was said. */
static inline ssize_t cached_read_whole(int fd, void *memory, size_t size)
{
    char beyond;
    struct iovec parts[2] = {{memory, size}, {&beyond, 1}};
    return cached_transfer(__NR_preadv2, fd, parts, 2, 0);
}

static inline ssize_t cached_write(int fd, const void *memory, size_t size, int64_t offset)
{
    struct iovec part = {(void *)memory, size};
    return cached_transfer(__NR_pwritev2, fd, &part, 1, offset);
}

static inline int cached_openat2(const char *path, int flags)
{
    struct cached_how how = {(uint64_t)flags, 0, CACHED_RESOLVE};
    return (int)syscall(__NR_openat2, AT_FDCWD, path, &how, sizeof how);
}

/* Open what was a regular file a moment ago, whose path the kernel has in memory, without making or
 * cutting it. Anything else is refused with EAGAIN: opening a pipe or a device may wait, and may
 * have effects. O_NONBLOCK is for what takes the file's place in between, and for files with a
 * lease; so its size is what it was, perhaps of another one. */
static inline int cached_peep(const char *path, int flags, int64_t *size)
{
    struct stat status;
    int refused = 0;
    int fd = cached_openat2(path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return -1;
    refused = fstat(fd, &status) < 0 || !S_ISREG(status.st_mode);
    close(fd);
    if (refused || flags & (O_CREAT | O_TRUNC)) {
        errno = EAGAIN;
        return -1;
    }
    *size = status.st_size;
    return cached_openat2(path, flags | O_CLOEXEC | O_NONBLOCK);
}

/* Make sure that what was opened by `cached_peep` is a regular file, and have it as others open it.
 * Where it cannot be had, it is closed. */
static inline int cached_keep(int fd, int flags, int64_t *size)
{
    struct stat status;
    if (fd < 0)
        return -1;
    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode)
        || fcntl(fd, F_SETFL, flags & ~(O_CLOEXEC | O_NONBLOCK)) < 0) {
        close(fd);
        errno = EAGAIN;
        return -1;
    }
    *size = status.st_size;
    return fd;
}

/* Open a regular file whose path the kernel has in memory, as above. */
static inline int cached_open(const char *path, int flags, int64_t *size)
{
    return cached_keep(cached_peep(path, flags, size), flags, size);
}

#endif
