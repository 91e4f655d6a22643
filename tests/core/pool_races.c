/* Three loops' worth of jobs on the thread pool, for the sanitizer of threads: test_threadpool.py. */
#define _GNU_SOURCE
#include "threadpool.h"

#include <assert.h>
#include <stdio.h>

enum { LOOPS = 3, ROUNDS = 40, JOBS = 300, AT_ONCE = 64, BLOCK = 4096, BLOCKS = 16 };

/* Nobody here has a GIL. */
PyThreadState *PyEval_SaveThread(void)
{
    return NULL;
}

void PyEval_RestoreThread(PyThreadState *state)
{
    (void)state;
}

static const char *folder;

static void submit(struct pool_port *port, struct pool_job *job, int fd, char *memory, int number)
{
    job->port = port;
    job->fd = fd;
    job->address = memory + (size_t)BLOCK * number;
    job->size = BLOCK;
    job->offset = (int64_t)BLOCK * (number % BLOCKS);
    job->kind = number % 7 == 0 ? POOL_SYNC_DATA : number % 3 == 0 ? POOL_READ : POOL_WRITE;
    job->must_end = job->kind == POOL_WRITE;
    assert(pool_submit(job) == 0);
}

static int count_back(struct pool_job *job)
{
    int count = 0;
    for (; job != NULL; job = job->next) {
        assert(job->result >= 0 || job->result == -ECANCELED);
        count++;
    }
    return count;
}

static void play_round(int fd, int round, unsigned *chance)
{
    struct pool_port *port = calloc(1, sizeof(*port));
    struct pool_job *jobs = calloc(JOBS, sizeof(*jobs));
    char *memory = calloc(JOBS, BLOCK);
    int event_fd = eventfd(0, EFD_NONBLOCK), submitted = 0, back = 0;
    port->event_fd = event_fd;
    /* Some ports are closed in the middle of it. */
    while (back < (round % 5 == 4 ? JOBS / 2 : JOBS)) {
        struct pollfd ready = {event_fd, POLLIN};
        while (submitted < JOBS && submitted - back < AT_ONCE && rand_r(chance) % 50) {
            submit(port, &jobs[submitted], fd, memory, submitted);
            submitted++;
        }
        if (rand_r(chance) % 3 == 0)
            pool_wait_for_any(port, 1000000);
        else
            poll(&ready, 1, 1);
        back += count_back(pool_take_done(port));
        if (rand_r(chance) % 200 == 0)
            pool_end_idle();
    }
    back += count_back(pool_close_port(port, 10000000000));
    assert(back == submitted);
    close(event_fd);
    free(memory);
    free(jobs);
}

static void *play(void *number)
{
    unsigned chance = (unsigned)(uintptr_t)number + 1;
    char path[4096];
    int fd;
    snprintf(path, sizeof(path), "%s/%u", folder, chance);
    fd = open(path, O_RDWR | O_CREAT, 0600);
    assert(fd >= 0);
    for (int round = 0; round < ROUNDS; round++)
        play_round(fd, round, &chance);
    close(fd);
    return NULL;
}

int main(int count, char **words)
{
    pthread_t threads[LOOPS];
    assert(count == 2);
    folder = words[1];
    pool_make();
    for (uintptr_t i = 0; i < LOOPS; i++)
        assert(pthread_create(&threads[i], NULL, play, (void *)i) == 0);
    for (int i = 0; i < LOOPS; i++)
        pthread_join(threads[i], NULL);
    assert(pool_finish_writes(1000000000));
    pool_end_idle();
    assert(pool_thread_count() == 0 && pool.on_their_way == 0);
    puts("everything came back");
    return 0;
}
