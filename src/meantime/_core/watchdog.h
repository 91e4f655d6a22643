/* The watchdog: one thread that looks whether the loops of this process still turn.
 *
 * It has no Python state. It reads each loop's pulse, sleeps a quarter of the threshold, and reads
 * it again; it parks itself while all the loops sleep. Only when a turn has lasted for half the
 * threshold does it take the GIL, to look at the stack of the loop's thread.
 *
 * The lock is never held while the GIL is waited for, so a thread that has the GIL may take it.
 */
#ifndef MEANTIME_WATCHDOG_H
#define MEANTIME_WATCHDOG_H

#include <Python.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "kernel.h"
#include "pulse.h"

#define NEVER_NS INT64_MAX
#define LAG_BUCKETS 24

/* What is known when the stack of a loop's thread is looked at. */
struct sighting {
    uint64_t step, first_step, turn;
    int64_t step_begun_ns;      /* when the step began, as near as it is known */
    int64_t step_ns, turn_ns;   /* how long they last at least, without the time in which the
                                 * thread waited for a processor */
    /* Since the look before: */
    int64_t elapsed_ns;
    int64_t own_cpu_ns;         /* what the loop's thread worked */
    int64_t own_slices;         /* how often it was given a processor */
    int64_t others_cpu_ns;      /* what other threads of the process worked */
};

/* What the threads of the process had done by some moment. */
struct usage {
    int64_t at_ns, own_cpu_ns, process_cpu_ns, slices;
};

struct watched {
    struct watched *next;
    struct pulse *pulse;
    void *owner;                /* borrowed; good while the GIL is held and the watch goes on */
    int tid;
    clockid_t cpu_clock;        /* of the loop's thread; what schedstat says lags behind */
    int64_t threshold_ns;

    /* What the thread remembers of it. */
    uint64_t turn_seen, step_seen, first_step;
    int64_t turn_since_ns, step_since_ns, look_at_ns, remind_at_ns;
    struct usage before;        /* at the last look */
    /* What it had waited for a processor when the turn, or the step, was first looked at. */
    int64_t turn_delay_ns, step_delay_ns;
    int64_t turn_cpu_ns, step_cpu_ns;   /* what it had worked by then */
    int idle_looks, sightings;

    int linked, busy, dead;
    uint64_t lag_counts[LAG_BUCKETS];   /* by powers of two of microseconds, up to 8 s */
    int64_t lag_ns_max;
};


static struct dog {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    int is_running, ended;
    uintptr_t generation;       /* of the thread; one of an earlier generation ends */
    int64_t expects_ns;         /* when it wanted to be awake again */
    struct watched *first;
    /* Called with the GIL. What goes wrong in it is its own business. Without a sighting it is to
     * wake the loop. */
    void (*on_sighting)(void *owner, const struct sighting *seen);
} dog;

/* ---- what the kernel knows of a thread */

struct schedstat {
    long long cpu_ns, delay_ns, slices;
};

/* How long it has worked, how long waited for a processor, and how often it was given one. */
static struct schedstat read_schedstat(int tid)
{
    struct schedstat found = {0, 0, 0};
    char path[64], text[96];
    ssize_t size;
    int fd;
    snprintf(path, sizeof(path), "/proc/self/task/%d/schedstat", tid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return found;
    size = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (size <= 0)
        return found;
    text[size] = 0;
    sscanf(text, "%lld %lld %lld", &found.cpu_ns, &found.delay_ns, &found.slices);
    return found;
}

static int64_t cpu_ns(clockid_t clock)
{
    struct timespec now;
    if (clock_gettime(clock, &now) < 0)
        return 0;
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static struct usage usage_of(const struct watched *one, const struct schedstat *found)
{
    return (struct usage){
        .at_ns = monotonic_ns(),
        .own_cpu_ns = cpu_ns(one->cpu_clock),
        .process_cpu_ns = cpu_ns(CLOCK_PROCESS_CPUTIME_ID),
        .slices = found->slices,
    };
}

/* ---- looking */

static int64_t larger(int64_t one, int64_t other)
{
    return one > other ? one : other;
}

static void remember_turn(struct watched *one, uint64_t turn, uint64_t step, int64_t now_ns)
{
    one->turn_seen = turn;
    one->step_seen = one->first_step = step;
    one->turn_since_ns = one->step_since_ns = now_ns;
    one->turn_delay_ns = one->step_delay_ns = -1;
    one->turn_cpu_ns = one->step_cpu_ns = cpu_ns(one->cpu_clock);
    one->sightings = 0;
}

/* How long something lasts without the time in which the loop's thread waited for a processor.
 *
 * On a busy machine it is too little: while that thread waits, the kernel has not counted it yet,
 * and what this one came late is not counted. But what the loop's thread worked is certain. */
static int64_t lasted_ns(int64_t elapsed_ns, int64_t delayed_ns, int64_t worked_ns)
{
    return larger(elapsed_ns - delayed_ns, worked_ns);
}

/* Let go of the lock and take the GIL. */
static PyGILState_STATE take_gil(struct watched *one)
{
    one->busy = 1;
    pthread_mutex_unlock(&dog.lock);
    return PyGILState_Ensure();
}

/* Let go of the GIL and take the lock again. May free it. */
static void give_gil_back(struct watched *one, PyGILState_STATE state)
{
    PyGILState_Release(state);
    pthread_mutex_lock(&dog.lock);
    one->busy = 0;
    if (one->dead)
        free(one);
}

/* Take the GIL and hand on what is seen. */
static void take_sighting(struct watched *one)
{
    struct sighting seen = {.first_step = one->first_step};
    struct schedstat found;
    struct usage now;
    uint64_t step = one->step_seen, turn = one->turn_seen;
    PyGILState_STATE state = take_gil(one);
    /* While this thread has the GIL, the loop's cannot end its step, nor its run. */
    if (!one->dead && !__atomic_load_n(&one->pulse->sleeping, __ATOMIC_SEQ_CST)
        && __atomic_load_n(&one->pulse->turn, __ATOMIC_RELAXED) == turn) {
        found = read_schedstat(one->tid);
        now = usage_of(one, &found);
        seen.elapsed_ns = now.at_ns - one->before.at_ns;
        seen.own_cpu_ns = now.own_cpu_ns - one->before.own_cpu_ns;
        seen.own_slices = now.slices - one->before.slices;
        seen.others_cpu_ns = now.process_cpu_ns - one->before.process_cpu_ns - seen.own_cpu_ns;
        one->before = now;
        seen.turn = turn;
        seen.step_begun_ns = one->step_since_ns - one->threshold_ns / 8;
        seen.step = __atomic_load_n(&one->pulse->step, __ATOMIC_RELAXED);
        /* Measured anew: to let go of the GIL it had to be given a processor, so that all it has
         * waited for one is counted now. */
        seen.turn_ns = lasted_ns(now.at_ns - one->turn_since_ns,
                                 found.delay_ns - one->turn_delay_ns,
                                 now.own_cpu_ns - one->turn_cpu_ns);
        if (seen.step == step)
            seen.step_ns = lasted_ns(now.at_ns - one->step_since_ns,
                                     found.delay_ns - one->step_delay_ns,
                                     now.own_cpu_ns - one->step_cpu_ns);
        dog.on_sighting(one->owner, &seen);
    }
    one->sightings++;
    /* Often at first, to see which line it is; then ever more rarely. */
    one->look_at_ns = monotonic_ns()
        + one->threshold_ns / 4 * (one->sightings > 8 ? one->sightings - 8 : 1);
    give_gil_back(one, state);
}

/* Wake a loop that sleeps for long, with the GIL: it is reminded when it is awake. */
static void wake_to_remind(struct watched *one)
{
    PyGILState_STATE state = take_gil(one);
    if (!one->dead)
        dog.on_sighting(one->owner, NULL);
    give_gil_back(one, state);
}

/* Look at one loop. Sets when to look again. May let go of the lock, and free it. */
static void look_at(struct watched *one, int64_t now_ns)
{
    const int64_t tick_ns = one->threshold_ns / 4;
    struct schedstat found;
    int64_t turn_ns;
    uint64_t turn = __atomic_load_n(&one->pulse->turn, __ATOMIC_RELAXED);
    uint64_t step = __atomic_load_n(&one->pulse->step, __ATOMIC_RELAXED);
    one->look_at_ns = now_ns + tick_ns;
    if (one->remind_at_ns <= now_ns) {
        one->remind_at_ns = NEVER_NS;
        __atomic_store_n(&one->pulse->reminded, 1, __ATOMIC_SEQ_CST);
    }
    if (__atomic_load_n(&one->pulse->sleeping, __ATOMIC_SEQ_CST)) {
        one->lag_counts[0]++;
        one->idle_looks = step == one->step_seen ? one->idle_looks + 1 : 0;
        remember_turn(one, turn, step, now_ns);
        if (one->idle_looks < 2)
            return;
        if (__atomic_load_n(&one->pulse->reminded, __ATOMIC_SEQ_CST)) {
            wake_to_remind(one);
            return;
        }
        __atomic_store_n(&one->pulse->parked, 1, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&one->pulse->sleeping, __ATOMIC_SEQ_CST))
            one->look_at_ns = one->remind_at_ns;
        return;
    }
    one->idle_looks = 0;
    if (!__atomic_load_n(&one->pulse->asked, __ATOMIC_ACQUIRE)) {
        one->pulse->asked_ns = now_ns;
        __atomic_store_n(&one->pulse->asked, 1, __ATOMIC_RELEASE);
    }
    if (turn != one->turn_seen) {
        remember_turn(one, turn, step, now_ns);
        return;
    }
    if (step != one->step_seen) {
        one->step_seen = step;
        one->step_since_ns = now_ns;
        one->step_delay_ns = -1;
        one->step_cpu_ns = cpu_ns(one->cpu_clock);
    }
    found = read_schedstat(one->tid);
    if (one->turn_delay_ns < 0) {
        one->turn_delay_ns = found.delay_ns;
        one->before = usage_of(one, &found);
    }
    if (one->step_delay_ns < 0)
        one->step_delay_ns = found.delay_ns;
    turn_ns = lasted_ns(now_ns - one->turn_since_ns, found.delay_ns - one->turn_delay_ns,
                        cpu_ns(one->cpu_clock) - one->turn_cpu_ns);
    if (turn_ns >= one->threshold_ns / 2)
        take_sighting(one);
}

/* Do not count time in which nobody could run: a stopped process, a suspended machine. */
static void forgive(int64_t late_ns)
{
    for (struct watched *one = dog.first; one != NULL; one = one->next) {
        one->turn_since_ns += late_ns;
        one->step_since_ns += late_ns;
    }
}

static struct watched *next_due(int64_t now_ns, int64_t *earliest_ns)
{
    *earliest_ns = NEVER_NS;
    for (struct watched *one = dog.first; one != NULL; one = one->next) {
        if (one->busy)
            continue;   /* with a thread of an earlier generation */
        if (one->look_at_ns <= now_ns)
            return one;
        if (one->look_at_ns < *earliest_ns)
            *earliest_ns = one->look_at_ns;
    }
    return NULL;
}

static void *watch_over(void *generation)
{
    int64_t now_ns, earliest_ns;
    struct timespec until;
    struct watched *one;
    pthread_mutex_lock(&dog.lock);
    while (dog.generation == (uintptr_t)generation) {
        now_ns = monotonic_ns();
        if (dog.expects_ns && now_ns > dog.expects_ns)
            forgive(now_ns - dog.expects_ns);
        dog.expects_ns = 0;
        if ((one = next_due(now_ns, &earliest_ns)) != NULL) {
            look_at(one, now_ns);
        } else if (earliest_ns == NEVER_NS) {
            pthread_cond_wait(&dog.changed, &dog.lock);
        } else {
            dog.expects_ns = earliest_ns;
            until.tv_sec = earliest_ns / 1000000000;
            until.tv_nsec = earliest_ns % 1000000000;
            pthread_cond_timedwait(&dog.changed, &dog.lock, &until);
        }
    }
    pthread_mutex_unlock(&dog.lock);
    return NULL;
}

/* ---- the thread's life. All of this is called with the GIL. */

/* With the lock. The thread serves no signals: those are for the threads of the program. */
static void start_dog(void)
{
    sigset_t all, before;
    if (dog.is_running || dog.ended || dog.first == NULL)
        return;
    dog.expects_ns = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    dog.is_running = pthread_create(
        &dog.thread, NULL, watch_over, (void *)dog.generation) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* Let the thread go on, where it was stopped and there is something to watch. */
static void resume_dog(void)
{
    pthread_mutex_lock(&dog.lock);
    start_dog();
    pthread_mutex_unlock(&dog.lock);
}

/* Stop the thread and wait for its end, without the GIL, for which it may be waiting. */
static void stop_dog(int for_good)
{
    int was_running;
    pthread_t thread;
    PyThreadState *state;
    pthread_mutex_lock(&dog.lock);
    was_running = dog.is_running;
    thread = dog.thread;
    dog.is_running = 0;
    dog.generation++;
    dog.ended |= for_good;
    pthread_cond_broadcast(&dog.changed);
    pthread_mutex_unlock(&dog.lock);
    if (was_running) {
        state = PyEval_SaveThread();
        pthread_join(thread, NULL);
        PyEval_RestoreThread(state);
    }
}

/* Once, and again in each forked child. */
static void make_dog(void)
{
    pthread_condattr_t monotonic;
    pthread_mutex_init(&dog.lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&dog.changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

/* In a forked child there is no such thread, and what it watched is the parent's. */
static void forget_dog(void)
{
    for (struct watched *one = dog.first; one != NULL; one = one->next)
        one->linked = one->busy = 0;
    dog.first = NULL;
    dog.is_running = 0;
    dog.generation++;
    make_dog();
}

static void take_back_wishes(struct pulse *pulse)
{
    pulse->parked = pulse->asked = pulse->reminded = pulse->overdue = pulse->crowded = 0;
}

/* Begin to watch the loop that this thread runs. Returns NULL when there is no memory. */
static struct watched *begin_watch(struct pulse *pulse, void *owner, int64_t threshold_ns)
{
    struct watched *one = calloc(1, sizeof(*one));
    if (one == NULL)
        return NULL;
    one->pulse = pulse;
    one->owner = owner;
    one->tid = (int)syscall(SYS_gettid);
    if (pthread_getcpuclockid(pthread_self(), &one->cpu_clock) != 0)
        one->cpu_clock = CLOCK_THREAD_CPUTIME_ID;
    one->threshold_ns = threshold_ns;
    one->linked = 1;
    one->look_at_ns = monotonic_ns();
    one->remind_at_ns = NEVER_NS;
    remember_turn(one, pulse->turn, pulse->step, one->look_at_ns);
    take_back_wishes(pulse);
    pulse->ended_ns = 0;
    pthread_mutex_lock(&dog.lock);
    one->next = dog.first;
    dog.first = one;
    start_dog();
    pthread_cond_signal(&dog.changed);
    pthread_mutex_unlock(&dog.lock);
    return one;
}

/* After this the thread reads nothing of the loop any more. */
static void end_watch(struct watched *one)
{
    int busy;
    pthread_mutex_lock(&dog.lock);
    for (struct watched **link = &dog.first; one->linked && *link != NULL; link = &(*link)->next)
        if (*link == one) {
            *link = one->next;
            break;
        }
    one->dead = 1;
    busy = one->busy;
    take_back_wishes(one->pulse);
    pthread_mutex_unlock(&dog.lock);
    if (!busy)
        free(one);
}

/* The loop has woken up, and the thread is parked. */
static void unpark(struct watched *one)
{
    pthread_mutex_lock(&dog.lock);
    one->pulse->parked = 0;
    one->look_at_ns = monotonic_ns() + one->threshold_ns / 4;
    pthread_cond_signal(&dog.changed);
    pthread_mutex_unlock(&dog.lock);
}

/* Remind the loop, which is awake, at some time. */
static void remind_at(struct watched *one, int64_t at_ns)
{
    pthread_mutex_lock(&dog.lock);
    one->remind_at_ns = at_ns;
    pthread_mutex_unlock(&dog.lock);
}

static void count_lag(struct watched *one, int64_t lag_ns)
{
    int64_t lag_us = lag_ns / 1000;
    int bucket = 1;     /* the first is the thread's own: the loop slept */
    while (lag_us > 1 && bucket < LAG_BUCKETS - 1) {
        lag_us >>= 1;
        bucket++;
    }
    one->lag_counts[bucket]++;
    if (lag_ns > one->lag_ns_max)
        one->lag_ns_max = lag_ns;
}

#endif
