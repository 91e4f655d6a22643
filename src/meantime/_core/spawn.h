/* Starting a program without copying this process first.
 *
 * fork() copies the page tables of its caller, which takes the longer the more memory the caller
 * has. Here the child borrows the memory instead (CLONE_VM), and the calling thread sleeps until
 * the child runs its program or has failed (CLONE_VFORK), as in vfork(2) and posix_spawn(3).
 *
 * What the child may do until then is little. It shares all memory, errno included, with threads
 * of the parent that run on: so it only makes system calls and writes to its own stack and to its
 * struct spawn. Its descriptors, signal handlers and working directory are copies of its own.
 * A handler of the parent's must not run in it, so all signals are blocked from before its birth
 * until it has no handlers left.
 *
 * Source: clone(2), close_range(2), pidfd_open(2), waitid(2).
 */
#ifndef MEANTIME_SPAWN_H
#define MEANTIME_SPAWN_H

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Older headers lack some of these; the numbers are the same on all machines. */
#define SPAWN_CLONE_PIDFD 0x00001000
#define SPAWN_P_PIDFD 3
#ifndef __NR_pidfd_send_signal
#define __NR_pidfd_send_signal 424
#endif
#ifndef __NR_pidfd_open
#define __NR_pidfd_open 434
#endif
#ifndef __NR_close_range
#define __NR_close_range 436
#endif

#define SPAWN_STACK_BYTES (64 * 1024)
#define SPAWN_FIRST_OTHER 3 /* below it: standard input, output and error */

enum {
    SPAWN_PREPARING,
    SPAWN_CHANGING_DIRECTORY,
    SPAWN_EXECUTING,
};

struct spawn {
    char **arguments;      /* these three end with NULL */
    char **environment;
    char **candidates;     /* paths of the program, tried in this order */
    const char *directory; /* to work in, or NULL */
    const int *kept;       /* descriptors to pass on, ascending */
    int kept_count;
    int standard[3];       /* what becomes 0, 1 and 2; -1: the parent's own */
    int closes_others;
    int restores_signals;
    int opens_session;
    pid_t group;           /* to join; 0: a new one, -1: none */

    sigset_t mask;         /* of the parent, and of the program */

    int pidfd;             /* -1 where the kernel gives none */
    int error;             /* an errno, or 0 once the program runs */
    int step;              /* in which it failed */
};

static inline int spawn_close_range(unsigned first, unsigned last)
{
    return (int)syscall(__NR_close_range, first, last, 0);
}

/* Whether the kernel (5.9) and the sandbox have close_range(2). The range asked for is empty. */
static inline int spawn_has_close_range(void)
{
    return spawn_close_range(~0u, ~0u) == 0;
}

static inline int spawn_stay_open(int fd)
{
    int flags = fcntl(fd, F_GETFD);
    return flags < 0 ? -1 : fcntl(fd, F_SETFD, flags & ~FD_CLOEXEC);
}

static inline int spawn_place(int fd, int target)
{
    if (fd < 0)
        return 0;
    return fd == target ? spawn_stay_open(fd) : dup2(fd, target);
}

/* Put the three standard descriptors in their places. Whatever stands in the place of one that is
 * placed before it moves out of the way first. */
static inline int spawn_place_standard(struct spawn *spawn)
{
    int *standard = spawn->standard;
    for (int source = 1; source < 3; source++) {
        if (standard[source] < 0 || standard[source] >= source)
            continue;
        standard[source] = fcntl(standard[source], F_DUPFD_CLOEXEC, SPAWN_FIRST_OTHER);
        if (standard[source] < 0)
            return -1;
    }
    for (int target = 0; target < 3; target++)
        if (spawn_place(standard[target], target) < 0)
            return -1;
    return 0;
}

static inline int spawn_close_others(const struct spawn *spawn)
{
    unsigned first = SPAWN_FIRST_OTHER;
    for (int index = 0; index < spawn->kept_count; index++) {
        unsigned kept = (unsigned)spawn->kept[index];
        if (kept < first)
            continue;
        if (kept > first && spawn_close_range(first, kept - 1) < 0)
            return -1;
        first = kept + 1;
    }
    return spawn_close_range(first, ~0u);
}

/* Take the parent's handlers away, and then unblock what they would have been called for. */
static inline int spawn_reset_signals(const struct spawn *spawn)
{
    struct sigaction action, standard = {.sa_handler = SIG_DFL};
    for (int number = 1; number < NSIG; number++) {
        if (sigaction(number, NULL, &action) < 0)
            continue; /* the C library keeps a few to itself */
        if (action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN)
            sigaction(number, &standard, NULL);
    }
    if (spawn->restores_signals) {
        /* Python ignores these two, and what is ignored stays so in a new program. */
        sigaction(SIGPIPE, &standard, NULL);
        sigaction(SIGXFSZ, &standard, NULL);
    }
    return sigprocmask(SIG_SETMASK, &spawn->mask, NULL);
}

/* Try each path. Returns only if none can be run, with the errno that tells most: that of the
 * first one that is there. */
static inline void spawn_execute(const struct spawn *spawn)
{
    int telling = 0;
    for (char **path = spawn->candidates; *path != NULL; path++) {
        execve(*path, spawn->arguments, spawn->environment);
        if (errno != ENOENT && errno != ENOTDIR && telling == 0)
            telling = errno;
    }
    if (telling != 0)
        errno = telling;
}

static int spawn_run_child(void *argument)
{
    struct spawn *spawn = argument;
    spawn->step = SPAWN_PREPARING;
    for (int index = 0; index < spawn->kept_count; index++)
        if (spawn_stay_open(spawn->kept[index]) < 0)
            goto failed;
    if (spawn_place_standard(spawn) < 0)
        goto failed;
    if (spawn->directory != NULL) {
        spawn->step = SPAWN_CHANGING_DIRECTORY;
        if (chdir(spawn->directory) < 0)
            goto failed;
        spawn->step = SPAWN_PREPARING;
    }
    if (spawn_reset_signals(spawn) < 0)
        goto failed;
    if (spawn->opens_session)
        setsid();
    if (spawn->group >= 0 && setpgid(0, spawn->group) < 0)
        goto failed;
    if (spawn->closes_others && spawn_close_others(spawn) < 0)
        goto failed;
    spawn->step = SPAWN_EXECUTING;
    spawn_execute(spawn);
failed:
    spawn->error = errno != 0 ? errno : ECHILD;
    _exit(255);
}

/* Start the program and return the child's process id; -1 and errno if there is no child. When
 * `error` is set, there was one that could not run the program, and nothing of it is left. */
static pid_t spawn_start(struct spawn *spawn)
{
    sigset_t all;
    int flags = CLONE_VM | CLONE_VFORK | SIGCHLD;
    char *stack = malloc(SPAWN_STACK_BYTES);
    if (stack == NULL)
        return -1;
    /* malloc aligns to 16 bytes, as a stack must be. */
    char *top = stack + SPAWN_STACK_BYTES;
    spawn->pidfd = -1;
    spawn->error = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &spawn->mask);
    /* Kernels before 5.2 leave the flag and the pidfd alone; sandboxes refuse what is new. */
    pid_t pid = clone(spawn_run_child, top, flags | SPAWN_CLONE_PIDFD, spawn, &spawn->pidfd);
    if (pid < 0 && (errno == EINVAL || errno == EPERM || errno == ENOSYS))
        pid = clone(spawn_run_child, top, flags, spawn);
    int error = errno;
    pthread_sigmask(SIG_SETMASK, &spawn->mask, NULL);
    free(stack);
    if (pid > 0 && spawn->error != 0) {
        if (spawn->pidfd >= 0)
            close(spawn->pidfd);
        spawn->pidfd = -1;
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    errno = error;
    return pid;
}

static inline int spawn_pidfd_open(pid_t pid)
{
    return (int)syscall(__NR_pidfd_open, pid, 0);
}

static inline int spawn_pidfd_signal(int pidfd, int number)
{
    return (int)syscall(__NR_pidfd_send_signal, pidfd, number, NULL, 0);
}

/* Take the exit status of a child if it has ended. Returns 1 with Python's exit code in `code`, 0
 * while it runs, -1 with errno if it is no child (any more). */
static inline int spawn_reap(pid_t pid, int pidfd, int *code)
{
    siginfo_t info;
    int result = -1;
    info.si_pid = 0;
    /* The pidfd is exact even if somebody else has reaped the child and its number lives on in
     * another. Kernels before 5.4 have pidfds but do not wait for them. */
    if (pidfd >= 0)
        result = waitid((idtype_t)SPAWN_P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG);
    if (pidfd < 0 || (result < 0 && errno == EINVAL))
        result = waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG);
    if (result < 0)
        return -1;
    if (info.si_pid == 0)
        return 0;
    *code = info.si_code == CLD_EXITED ? info.si_status : -info.si_status;
    return 1;
}

#endif
