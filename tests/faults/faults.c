/* Faults at the border between the core and the system.
 *
 * faults_attach() finds a compiled module among the objects that are loaded, and replaces the
 * addresses in its table of imported functions by those of the functions below. Only that module
 * meets the faults: the sockets of the test itself, in the same process, do not. The module is the
 * one that is shipped, without a hook in it, and after faults_detach() it is as it was. Preloading
 * (LD_PRELOAD) would do the same to a whole process, and with it to the test and its runner.
 *
 * What is injected must be possible, or it proves nothing. The core watches edges: after EAGAIN or
 * a short send it waits for the kernel to say that there is room, and after a short read for the
 * kernel to say that more has come. The kernel keeps that promise (epoll(7), question 9), so a
 * fault that breaks it would only show what cannot happen. Therefore, whoever is told that it must
 * wait is told by the kernel later that it need not: see `tell`. Where the kernel cannot be made to
 * say so, the call is left alone.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <link.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef __NR_io_uring_setup
#define __NR_io_uring_setup 425
#define __NR_io_uring_enter 426
#define __NR_io_uring_register 427
#endif
#ifndef __NR_epoll_pwait2
#define __NR_epoll_pwait2 441
#endif

#if defined(__x86_64__)
#define IS_IMPORT(type) ((type) == R_X86_64_JUMP_SLOT || (type) == R_X86_64_GLOB_DAT)
#elif defined(__aarch64__)
#define IS_IMPORT(type) ((type) == R_AARCH64_JUMP_SLOT || (type) == R_AARCH64_GLOB_DAT)
#else
#error "written for x86-64 and aarch64"
#endif

#include "plan.h"

enum { SLOTS_MAX = 1024 };

/* ---- The calls: receiving */

static ssize_t faulty_recv(int fd, void *buffer, size_t size, int flags)
{
    struct rule *rule = draw("recv", fd);
    size_t cut;
    if (fails(rule, fd, POLLIN))
        return -1;
    if (is_short(rule, fd, POLLIN) && (cut = read_size(fd, size)) > 0)
        return after_short(rule, fd, POLLIN, recv(fd, buffer, cut, flags));
    return recv(fd, buffer, size, flags);
}

static ssize_t faulty_recvmsg(int fd, struct msghdr *message, int flags)
{
    struct rule *rule = draw("recvmsg", fd);
    struct iovec pieces[PIECES_MAX], *whole = message->msg_iov;
    size_t cut, count = message->msg_iovlen;
    ssize_t result;
    if (fails(rule, fd, POLLIN))
        return -1;
    if (!is_short(rule, fd, POLLIN) || (cut = read_size(fd, size_of(whole, count))) == 0)
        return recvmsg(fd, message, flags);
    message->msg_iov = pieces;
    message->msg_iovlen = first_pieces(pieces, whole, count, cut);
    result = after_short(rule, fd, POLLIN, recvmsg(fd, message, flags));
    message->msg_iov = whole;
    message->msg_iovlen = count;
    return result;
}

static ssize_t faulty_recvfrom(int fd, void *buffer, size_t size, int flags,
                               struct sockaddr *address, socklen_t *length)
{
    if (fails(draw("recvfrom", fd), fd, POLLIN))
        return -1;
    return recvfrom(fd, buffer, size, flags, address, length);
}

static ssize_t faulty_read(int fd, void *buffer, size_t size)
{
    struct rule *rule = draw("read", fd);
    if (rule != NULL && rule->fault != EAGAIN && fails(rule, fd, 0))
        return -1;
    return read(fd, buffer, size);
}

/* ---- Sending */

static ssize_t faulty_send(int fd, const void *buffer, size_t size, int flags)
{
    struct rule *rule = draw("send", fd);
    if (fails(rule, fd, POLLOUT))
        return -1;
    if (size >= 2 && is_short(rule, fd, POLLOUT))
        return after_short(rule, fd, POLLOUT, send(fd, buffer, 1 + below(size - 1), flags));
    return send(fd, buffer, size, flags);
}

static ssize_t faulty_sendmsg(int fd, const struct msghdr *message, int flags)
{
    struct rule *rule = draw("sendmsg", fd);
    struct iovec pieces[PIECES_MAX];
    struct msghdr cut = *message;
    size_t size = size_of(message->msg_iov, message->msg_iovlen);
    if (fails(rule, fd, POLLOUT))
        return -1;
    if (size < 2 || !is_short(rule, fd, POLLOUT))
        return sendmsg(fd, message, flags);
    cut.msg_iov = pieces;
    cut.msg_iovlen = first_pieces(pieces, message->msg_iov, message->msg_iovlen,
                                  1 + below(size - 1));
    return after_short(rule, fd, POLLOUT, sendmsg(fd, &cut, flags));
}

static ssize_t faulty_sendto(int fd, const void *buffer, size_t size, int flags,
                             const struct sockaddr *address, socklen_t length)
{
    if (fails(draw("sendto", fd), fd, POLLOUT))
        return -1;
    return sendto(fd, buffer, size, flags, address, length);
}

static ssize_t faulty_write(int fd, const void *buffer, size_t size)
{
    struct rule *rule = draw("write", fd);
    if (rule != NULL && rule->fault != EAGAIN && fails(rule, fd, 0))
        return -1;
    return write(fd, buffer, size);
}

static ssize_t faulty_writev(int fd, const struct iovec *pieces, int count)
{
    struct rule *rule = draw("writev", fd);
    if (rule != NULL && rule->fault != EAGAIN && fails(rule, fd, 0))
        return -1;
    return writev(fd, pieces, count);
}

/* ---- Connections */

static int faulty_accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
    if (fails(draw("accept4", fd), fd, 0))
        return -1;
    return accept4(fd, address, length, flags);
}

/* An interrupted connect goes on in the kernel, so it has to begin. */
static int faulty_connect(int fd, const struct sockaddr *address, socklen_t length)
{
    struct rule *rule = draw("connect", fd);
    if (rule != NULL && rule->fault == EINTR) {
        int result = connect(fd, address, length);
        if (result == 0 || errno != EINPROGRESS)
            return result;
        fails(rule, fd, 0);
        return -1;
    }
    if (fails(rule, fd, 0))
        return -1;
    return connect(fd, address, length);
}

/* ---- Waiting */

static int faulty_epoll_create1(int flags)
{
    return fails(draw("epoll_create1", -1), -1, 0) ? -1 : epoll_create1(flags);
}

static int faulty_epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event)
{
    /* Only a new entry needs memory: a change of one, and its end, never fail for want of it. */
    if (operation == EPOLL_CTL_ADD && fails(draw("epoll_ctl", fd), fd, 0))
        return -1;
    return epoll_ctl(epoll_fd, operation, fd, event);
}

/* A short answer leaves the other events for the next call. */
static int events_wanted(struct rule *rule, int events_max)
{
    if (rule == NULL || rule->fault != SHORT)
        return events_max;
    done(rule);
    return 1;
}

/* Let what is ready for something seem to be ready for everything. */
static void exaggerate(struct rule *rule, struct epoll_event *events, int count)
{
    if (rule == NULL || rule->fault != SPURIOUS || count <= 0)
        return;
    for (int index = 0; index < count; index++)
        events[index].events |= EPOLLIN | EPOLLOUT;
    done(rule);
}

static int faulty_epoll_wait(int epoll_fd, struct epoll_event *events, int events_max,
                             int timeout_ms)
{
    struct rule *rule = draw("epoll_wait", epoll_fd);
    int count;
    if (fails(rule, epoll_fd, 0))
        return -1;
    count = epoll_wait(epoll_fd, events, events_wanted(rule, events_max), timeout_ms);
    exaggerate(rule, events, count);
    return count;
}

static int faulty_eventfd(unsigned initial, int flags)
{
    return fails(draw("eventfd", -1), -1, 0) ? -1 : eventfd(initial, flags);
}

/* ---- io_uring, and what else has no function of its own in the C library */

static long ring_setup(unsigned entries, uint32_t *params)
{
    struct rule *rule = draw("io_uring_setup", -1);
    if (fails(rule, -1, 0))
        return -1;
    if (rule != NULL && rule->fault == SHORT) {
        /* Queues so small that completions find no room: params[1] is cq_entries. */
        entries = params[1] = 8;
        done(rule);
    }
    return syscall(__NR_io_uring_setup, entries, params);
}

static long ring_enter(int fd, unsigned to_submit, unsigned min_complete, unsigned flags,
                       const void *argument, size_t size)
{
    struct rule *rule = draw("io_uring_enter", fd);
    if (fails(rule, fd, 0))
        return -1;
    if (rule != NULL && rule->fault == SHORT && to_submit > 1) {
        /* The kernel does not wait when it could not take everything. */
        done(rule);
        return syscall(__NR_io_uring_enter, fd, 1 + below(to_submit - 1), 0, 0, NULL, 0);
    }
    return syscall(__NR_io_uring_enter, fd, to_submit, min_complete, flags, argument, size);
}

static long faulty_syscall(long number, ...)
{
    long a[6], count;
    va_list arguments;
    struct rule *rule;
    va_start(arguments, number);
    for (int index = 0; index < 6; index++)
        a[index] = va_arg(arguments, long);
    va_end(arguments);
    if (number == __NR_io_uring_setup)
        return ring_setup((unsigned)a[0], (uint32_t *)a[1]);
    if (number == __NR_io_uring_enter)
        return ring_enter((int)a[0], (unsigned)a[1], (unsigned)a[2], (unsigned)a[3],
                          (const void *)a[4], (size_t)a[5]);
    if (number == __NR_io_uring_register && fails(draw("io_uring_register", (int)a[0]), -1, 0))
        return -1;
    if (number != __NR_epoll_pwait2)
        return syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    rule = draw("epoll_wait", (int)a[0]);
    if (fails(rule, (int)a[0], 0))
        return -1;
    count = syscall(number, a[0], a[1], (long)events_wanted(rule, (int)a[2]), a[3], a[4], a[5]);
    exaggerate(rule, (struct epoll_event *)a[1], (int)count);
    return count;
}

/* ---- Memory */

static void *faulty_mmap(void *address, size_t length, int protection, int flags, int fd,
                         off_t offset)
{
    if (fails(draw("mmap", fd), fd, 0))
        return MAP_FAILED;
    return mmap(address, length, protection, flags, fd, offset);
}

static void *faulty_malloc(size_t size)
{
    return fails(draw("malloc", -1), -1, 0) ? NULL : malloc(size);
}

static void *faulty_calloc(size_t count, size_t size)
{
    return fails(draw("calloc", -1), -1, 0) ? NULL : calloc(count, size);
}

static void *faulty_realloc(void *memory, size_t size)
{
    return fails(draw("realloc", -1), -1, 0) ? NULL : realloc(memory, size);
}

/* ---- Taking the place of the imported functions */

static const struct {
    const char *name;
    void *function;
} hooks[] = {
    {"recv", faulty_recv}, {"recvmsg", faulty_recvmsg}, {"recvfrom", faulty_recvfrom},
    {"read", faulty_read}, {"send", faulty_send}, {"sendmsg", faulty_sendmsg},
    {"sendto", faulty_sendto}, {"write", faulty_write}, {"writev", faulty_writev},
    {"accept4", faulty_accept4}, {"connect", faulty_connect},
    {"epoll_create1", faulty_epoll_create1}, {"epoll_ctl", faulty_epoll_ctl},
    {"epoll_wait", faulty_epoll_wait}, {"eventfd", faulty_eventfd}, {"syscall", faulty_syscall},
    {"mmap", faulty_mmap}, {"mmap64", faulty_mmap}, {"malloc", faulty_malloc},
    {"calloc", faulty_calloc}, {"realloc", faulty_realloc},
};

static struct {
    void **slot, *before;
} slots[SLOTS_MAX];
static int slot_count;

static void *hook_for(const char *name)
{
    for (size_t index = 0; index < sizeof hooks / sizeof *hooks; index++)
        if (strcmp(hooks[index].name, name) == 0)
            return hooks[index].function;
    return NULL;
}

static void replace(void **slot, void *function)
{
    uintptr_t page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t page = (uintptr_t)slot & ~(page_bytes - 1);
    if (*slot == function || slot_count == SLOTS_MAX)
        return;
    /* The loader may have made the table read-only. */
    if (mprotect((void *)page, page_bytes, PROT_READ | PROT_WRITE) < 0)
        return;
    slots[slot_count].slot = slot;
    slots[slot_count++].before = *slot;
    *slot = function;
}

static void replace_all(uintptr_t base, const ElfW(Rela) *entries, size_t size_bytes,
                        const ElfW(Sym) *symbols, const char *names)
{
    for (size_t index = 0; index < size_bytes / sizeof *entries; index++) {
        const ElfW(Rela) *entry = &entries[index];
        void *function;
        if (!IS_IMPORT(ELF64_R_TYPE(entry->r_info)))
            continue;
        function = hook_for(names + symbols[ELF64_R_SYM(entry->r_info)].st_name);
        if (function != NULL)
            replace((void **)(base + entry->r_offset), function);
    }
}

static int attach_object(struct dl_phdr_info *info, size_t size, void *path)
{
    const ElfW(Dyn) *dynamic = NULL;
    uintptr_t at[64] = {0};
    (void)size;
    if (strcmp(info->dlpi_name, path) != 0)
        return 0;
    for (int index = 0; index < info->dlpi_phnum; index++)
        if (info->dlpi_phdr[index].p_type == PT_DYNAMIC)
            dynamic = (const ElfW(Dyn) *)(info->dlpi_addr + info->dlpi_phdr[index].p_vaddr);
    for (; dynamic != NULL && dynamic->d_tag != DT_NULL; dynamic++)
        if (dynamic->d_tag < 64)
            at[dynamic->d_tag] = dynamic->d_un.d_ptr;
    replace_all(info->dlpi_addr, (void *)at[DT_JMPREL], at[DT_PLTRELSZ], (void *)at[DT_SYMTAB],
                (const char *)at[DT_STRTAB]);
    replace_all(info->dlpi_addr, (void *)at[DT_RELA], at[DT_RELASZ], (void *)at[DT_SYMTAB],
                (const char *)at[DT_STRTAB]);
    return 1;
}

/* Let the module that was loaded from `path` meet the faults. Returns whether it was found. */
int faults_attach(char *path)
{
    return dl_iterate_phdr(attach_object, path);
}

/* How many imported functions are replaced. */
int faults_attached(void)
{
    return slot_count;
}

void faults_detach(void)
{
    while (slot_count > 0) {
        slot_count--;
        *slots[slot_count].slot = slots[slot_count].before;
    }
}
