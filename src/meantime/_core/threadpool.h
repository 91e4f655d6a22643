/* Threads without Python: they make the system calls on files that may wait, one job each.
 *
 * There is one pool for all loops of a process. A loop has a port: what it asked for comes back
 * there, and an eventfd tells it so. A job belongs to whoever submitted it until it has come back.
 *
 * Writes through one descriptor are made one after the other, as the file's own lock would have
 * them: more threads would only wait for it. Everything else runs side by side. No thread is made
 * or woken while another is on its way, and each that takes a job calls the next one; so a burst of
 * short jobs is done by a thread or two, and one of long jobs by as many as there may be.
 *
 * A thread that has nothing to do looks for more for a moment before it sleeps, if the last time
 * that was worth it: to wake a sleeping thread takes longer than most of these calls.
 *
 * The lock is never held during such a call, nor while the GIL is waited for.
 */
#ifndef MEANTIME_THREADPOOL_H
#define MEANTIME_THREADPOOL_H

#include <Python.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "filejobs.h"
#include "kernel.h"

/* A disk with a queue of its own has use for as many. */
#define POOL_THREADS_MAX 64
#define POOL_LANES 256
#define POOL_SPIN_NS 100000
#define POOL_IDLE_NS 10000000000
#define POOL_STACK_BYTES (256 * 1024)

#if defined(__x86_64__) || defined(__i386__)
#define POOL_PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define POOL_PAUSE() __asm__ __volatile__("yield")
#else
#define POOL_PAUSE() ((void)0)
#endif

struct pool_port {
    struct pool_line done;      /* what has come back and was not taken yet */
    int under_way;              /* what has not come back */
    int event_fd;               /* -1: nobody listens any more */
};

/* Writes through one descriptor. */
struct pool_lane {
    int fd, busy;
    struct pool_line waiting;
};

struct pool_thread {
    struct pool_thread *next;
    pthread_t thread;
    int is_idle;                /* it has no job */
    int must_end;               /* also read without the lock */
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t called;      /* for the threads: there is something to do */
    pthread_cond_t came_back;   /* for a port that is closed, and for the end of the program */
    struct pool_line jobs;      /* each may be taken by anybody */
    int job_count;              /* of them; also read without the lock */
    int thread_count, sleeping;
    int on_their_way;           /* threads that were called and have not taken a job yet */
    int is_looking;             /* one thread looks for jobs before it sleeps */
    int looks;                  /* whether that would have been worth it the last time */
    int has_processors;         /* more than one: who looks takes it from nobody */
    int writes_under_way;
    struct pool_lane lanes[POOL_LANES];
    struct pool_thread *threads;
} pool;

/* ---- in the threads */

/* With the lock. */
static void pool_queue(struct pool_job *job)
{
    pool_push(&pool.jobs, job);
    __atomic_store_n(&pool.job_count, pool.job_count + 1, __ATOMIC_RELAXED);
}

/* With the lock. */
static struct pool_job *pool_take(void)
{
    struct pool_job *job = pool_pop(&pool.jobs);
    if (job != NULL)
        __atomic_store_n(&pool.job_count, pool.job_count - 1, __ATOMIC_RELAXED);
    return job;
}

/* With the lock. After this the job is no longer ours. */
static void pool_give_back(struct pool_job *job)
{
    struct pool_port *port = job->port;
    struct pool_lane *lane = job->lane;
    struct pool_job *next;
    if (lane != NULL) {
        next = pool_pop(&lane->waiting);
        if (next != NULL)
            pool_queue(next);
        else
            lane->busy = 0;
    }
    pool.writes_under_way -= job->must_end;
    port->under_way--;
    if (port->event_fd >= 0) {
        pool_push(&port->done, job);
        if (port->done.first == job)
            eventfd_write(port->event_fd, 1);
    } else if (port->under_way == 0) {
        free(port);
    }
    pthread_cond_broadcast(&pool.came_back);
}

static int pool_make_thread(void);

/* With the lock. Have one more thread come, unless one is on its way. */
static void pool_call_thread(void)
{
    if (pool.job_count == 0 || pool.on_their_way || pool.is_looking)
        return;
    if (pool.sleeping) {
        pool.on_their_way++;
        pthread_cond_signal(&pool.called);
    } else if (pool.thread_count < POOL_THREADS_MAX) {
        pool_make_thread();
    }
}

/* With the lock. Look for a job for a moment, without it. */
static void pool_look(struct pool_thread *self)
{
    int64_t until_ns = monotonic_ns() + POOL_SPIN_NS;
    pool.is_looking = 1;
    pthread_mutex_unlock(&pool.lock);
    while (!__atomic_load_n(&pool.job_count, __ATOMIC_RELAXED)
           && !__atomic_load_n(&self->must_end, __ATOMIC_RELAXED) && monotonic_ns() < until_ns)
        POOL_PAUSE();
    pthread_mutex_lock(&pool.lock);
    pool.is_looking = 0;
}

/* With the lock. Called whenever a thread may be the one that was on its way. That one too few are
 * thought to be costs a call for nothing; one too many, and nobody would be called any more. */
static void pool_arrived(void)
{
    if (pool.on_their_way)
        pool.on_their_way--;
}

/* With the lock. Sleep until there is something to do. Returns whether that took too long. */
static int pool_sleep(struct pool_thread *self)
{
    struct timespec until;
    int64_t until_ns = monotonic_ns() + POOL_IDLE_NS;
    int error = 0;
    until.tv_sec = until_ns / 1000000000;
    until.tv_nsec = until_ns % 1000000000;
    pool.sleeping++;
    while (pool.job_count == 0 && !self->must_end && error != ETIMEDOUT) {
        error = pthread_cond_timedwait(&pool.called, &pool.lock, &until);
        pool_arrived();
    }
    pool.sleeping--;
    return error == ETIMEDOUT && pool.job_count == 0 && !self->must_end;
}

/* With the lock. Tell a thread whether it is needed no more: jobs are never left alone. */
static int pool_may_end(void)
{
    pool_call_thread();
    return pool.job_count == 0 || pool.thread_count > 1;
}

static void pool_end_thread(struct pool_thread *self)
{
    struct pool_thread **link = &pool.threads;
    while (*link != self)
        link = &(*link)->next;
    *link = self->next;
    pool.thread_count--;
    if (!self->must_end)
        pthread_detach(self->thread);
    free(self);
}

static void *pool_work(void *argument)
{
    struct pool_thread *self = argument;
    struct pool_job *job;
    int64_t idle_ns = 0;
    prctl(PR_SET_NAME, "meantime-files", 0, 0, 0);
    pthread_mutex_lock(&pool.lock);
    pool_arrived();
    for (;;) {
        if (self->must_end && pool_may_end())
            break;
        job = pool_take();
        self->is_idle = job == NULL;
        if (job == NULL) {
            if (idle_ns == 0)
                idle_ns = monotonic_ns();
            if (pool.looks && !pool.is_looking) {
                pool_look(self);
                if (pool.job_count || self->must_end)
                    continue;
            }
            if (pool_sleep(self))
                break;
            continue;
        }
        if (idle_ns) {
            pool.looks = pool.has_processors && job->queued_ns - idle_ns < POOL_SPIN_NS;
            idle_ns = 0;
        }
        pool_call_thread();
        pthread_mutex_unlock(&pool.lock);
        pool_do(job);
        pthread_mutex_lock(&pool.lock);
        pool_give_back(job);
    }
    pool_end_thread(self);
    pthread_mutex_unlock(&pool.lock);
    return NULL;
}

/* With the lock. Returns 0, or the number of an error. The thread serves no signals: those are for
 * the threads of the program. */
static int pool_make_thread(void)
{
    struct pool_thread *made = calloc(1, sizeof(*made));
    pthread_attr_t attributes;
    sigset_t all, before;
    int error;
    if (made == NULL)
        return ENOMEM;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, POOL_STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&made->thread, &attributes, pool_work, made);
    if (error == EINVAL)    /* a library's thread-local memory wants more of a stack */
        error = pthread_create(&made->thread, NULL, pool_work, made);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (error) {
        free(made);
        return error;
    }
    made->is_idle = 1;
    made->next = pool.threads;
    pool.threads = made;
    pool.thread_count++;
    pool.on_their_way++;
    return 0;
}

/* ---- for the loops. All of this is called with the GIL. */

/* Hand a job over. Returns 0, or the number of an error, and then there is no such job. */
static int pool_submit(struct pool_job *job)
{
    struct pool_lane *lane;
    int error = 0;
    job->lane = NULL;
    job->queued_ns = monotonic_ns();
    pthread_mutex_lock(&pool.lock);
    if (pool.thread_count == 0)
        error = pool_make_thread();
    if (error) {
        pthread_mutex_unlock(&pool.lock);
        return error;
    }
    job->port->under_way++;
    pool.writes_under_way += job->must_end;
    if (job->kind == POOL_WRITE) {
        lane = &pool.lanes[job->fd % POOL_LANES];
        if (!lane->busy) {
            lane->busy = 1;
            lane->fd = job->fd;
            job->lane = lane;
        } else if (lane->fd == job->fd) {
            job->lane = lane;
            pool_push(&lane->waiting, job);
            pthread_mutex_unlock(&pool.lock);
            return 0;
        }
        /* Otherwise another descriptor has its place: then this one goes without. */
    }
    pool_queue(job);
    pool_call_thread();
    pthread_mutex_unlock(&pool.lock);
    return 0;
}

/* Return all that has come back, one linked to the next. */
static struct pool_job *pool_take_done(struct pool_port *port)
{
    struct pool_job *first;
    pthread_mutex_lock(&pool.lock);
    first = port->done.first;
    port->done.first = port->done.last = NULL;
    pthread_mutex_unlock(&pool.lock);
    return first;
}

/* With the lock. Take out of a line what belongs to a port and need not be done. */
static int pool_cut(struct pool_line *line, struct pool_port *port, struct pool_line *cut)
{
    struct pool_line left = {NULL, NULL};
    struct pool_job *job;
    int count = 0;
    while ((job = pool_pop(line)) != NULL) {
        if (job->port != port || job->must_end) {
            pool_push(&left, job);
            continue;
        }
        job->result = -ECANCELED;
        pool_push(cut, job);
        count++;
    }
    *line = left;
    return count;
}

/* With the lock. Wait for something to come back, without the GIL, until then at most. */
static int pool_wait(int64_t until_ns)
{
    struct timespec until = {until_ns / 1000000000, until_ns % 1000000000};
    return pthread_cond_timedwait(&pool.came_back, &pool.lock, &until) == ETIMEDOUT;
}

/* Close a port: what has not begun and need not be done never is, the rest is waited for, so long
 * at most. Returns what has come back. What has not then never does, and its memory must stay. */
static struct pool_job *pool_close_port(struct pool_port *port, int64_t wait_ns)
{
    struct pool_job *first;
    PyThreadState *state = PyEval_SaveThread();
    int64_t until_ns = monotonic_ns() + wait_ns;
    int count;
    pthread_mutex_lock(&pool.lock);
    count = pool_cut(&pool.jobs, port, &port->done);
    __atomic_store_n(&pool.job_count, pool.job_count - count, __ATOMIC_RELAXED);
    port->under_way -= count;
    while (port->under_way && !pool_wait(until_ns))
        ;
    first = port->done.first;
    port->done.first = port->done.last = NULL;
    port->event_fd = -1;
    if (port->under_way == 0)
        free(port);
    pthread_mutex_unlock(&pool.lock);
    PyEval_RestoreThread(state);
    return first;
}

/* Wait until something has come back that was not taken yet, so long at most. */
static void pool_wait_for_any(struct pool_port *port, int64_t wait_ns)
{
    PyThreadState *state = PyEval_SaveThread();
    int64_t until_ns = monotonic_ns() + wait_ns;
    pthread_mutex_lock(&pool.lock);
    while (port->under_way && port->done.first == NULL && !pool_wait(until_ns))
        ;
    pthread_mutex_unlock(&pool.lock);
    PyEval_RestoreThread(state);
}

/* End the threads that have nothing to do, and wait until they are gone. */
static void pool_end_idle(void)
{
    pthread_t ended[POOL_THREADS_MAX];
    int count = 0;
    PyThreadState *state = PyEval_SaveThread();
    pthread_mutex_lock(&pool.lock);
    for (struct pool_thread *one = pool.threads; one != NULL; one = one->next)
        if (one->is_idle && !one->must_end) {
            __atomic_store_n(&one->must_end, 1, __ATOMIC_RELAXED);
            ended[count++] = one->thread;
        }
    pthread_cond_broadcast(&pool.called);
    pthread_mutex_unlock(&pool.lock);
    while (count)
        pthread_join(ended[--count], NULL);
    PyEval_RestoreThread(state);
}

/* Wait until all is written that was to be written, so long at most. Returns whether it is. */
static int pool_finish_writes(int64_t wait_ns)
{
    PyThreadState *state = PyEval_SaveThread();
    int64_t until_ns = monotonic_ns() + wait_ns;
    int is_finished;
    pthread_mutex_lock(&pool.lock);
    while (pool.writes_under_way && !pool_wait(until_ns))
        ;
    is_finished = pool.writes_under_way == 0;
    pthread_mutex_unlock(&pool.lock);
    PyEval_RestoreThread(state);
    return is_finished;
}

static int pool_thread_count(void)
{
    int count;
    pthread_mutex_lock(&pool.lock);
    count = pool.thread_count;
    pthread_mutex_unlock(&pool.lock);
    return count;
}

/* Once, and again in each forked child, which has none of these threads. */
static void pool_make(void)
{
    pthread_condattr_t monotonic;
    cpu_set_t processors;
    memset(&pool, 0, sizeof(pool));
    /* It fails where there are more than the set has room for. */
    pool.has_processors = sched_getaffinity(0, sizeof(processors), &processors) < 0
        || CPU_COUNT(&processors) > 1;
    pthread_mutex_init(&pool.lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&pool.called, &monotonic);
    pthread_cond_init(&pool.came_back, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

#endif
