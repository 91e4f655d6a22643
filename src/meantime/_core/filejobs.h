/* One system call on a file: what is asked of a thread, lines of such jobs, and how it is done. */
#ifndef MEANTIME_FILEJOBS_H
#define MEANTIME_FILEJOBS_H

#include <errno.h>
#include <stdint.h>
#include <unistd.h>

/* The most that one read or write moves: read(2). */
#define POOL_BYTES_MAX 0x7ffff000

enum { POOL_READ, POOL_WRITE, POOL_SYNC, POOL_SYNC_DATA };

struct pool_port;
struct pool_lane;

struct pool_job {
    struct pool_job *next;
    /* Of its port, which the loop's thread keeps. */
    struct pool_job *before, *after;
    struct pool_port *port;
    void *owner;
    struct pool_lane *lane;
    void *address;
    size_t size;
    int64_t offset;             /* -1: where the file's own position is, which moves on */
    int64_t queued_ns;
    int fd, kind, must_end;
    int result;                 /* a number of bytes, or the negative number of an error */
};

struct pool_line {
    struct pool_job *first, *last;
};

static void pool_push(struct pool_line *line, struct pool_job *job)
{
    job->next = NULL;
    if (line->last != NULL)
        line->last->next = job;
    else
        line->first = job;
    line->last = job;
}

static struct pool_job *pool_pop(struct pool_line *line)
{
    struct pool_job *job = line->first;
    if (job != NULL) {
        line->first = job->next;
        if (line->first == NULL)
            line->last = NULL;
        job->next = NULL;
    }
    return job;
}

static ssize_t pool_call(const struct pool_job *job)
{
    size_t size = job->size < POOL_BYTES_MAX ? job->size : POOL_BYTES_MAX;
    ssize_t count;
    switch (job->kind) {
    case POOL_READ:
        count = pread(job->fd, job->address, size, job->offset);
        /* What has no positions is read as it comes. */
        return count < 0 && errno == ESPIPE ? read(job->fd, job->address, size) : count;
    case POOL_WRITE:
        if (job->offset < 0)
            return write(job->fd, job->address, size);
        count = pwrite(job->fd, job->address, size, job->offset);
        return count < 0 && errno == ESPIPE ? write(job->fd, job->address, size) : count;
    case POOL_SYNC:
        return fsync(job->fd);
    default:
        return fdatasync(job->fd);
    }
}

static void pool_do(struct pool_job *job)
{
    ssize_t count;
    do
        count = pool_call(job);
    while (count < 0 && errno == EINTR);
    job->result = count < 0 ? -errno : (int)count;
}

#endif
