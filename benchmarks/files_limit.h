/* What the two programs share that show how fast files can be: files_pread.c and files_uring.c.
 *
 *     PROGRAM QUESTION PATH COUNT AT_ONCE [RANDOM]
 *
 * QUESTION is read, write (random blocks of 4 KiB), sync (the same with an fsync for each), small
 * (files PATH/0/0, PATH/0/1 and so on, read whole), read_all or write_all (COUNT bytes by 1 MiB,
 * then fsync). With RANDOM the kernel is told not to read ahead. Prints the seconds it took as JSON.
 */
#ifndef FILES_LIMIT_H
#define FILES_LIMIT_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    BLOCK_BYTES = 4096,
    CHUNK_BYTES = 1 << 20,
    FILES_IN_FOLDER = 100,
    AT_ONCE_MAX = 64,
    PATH_BYTES = 4096,
};

struct job {
    const char *question;
    const char *path;
    long count;
    int at_once;
    int fd; /* -1 where each operation opens a file of its own */
    off_t size_bytes;
    off_t *offsets; /* of the random blocks, count of them */
};

static void fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec * 1e-9;
}

static int asks(const struct job *job, const char *question) {
    return strcmp(job->question, question) == 0;
}

static void small_path(const struct job *job, long number, char *path) {
    snprintf(path, PATH_BYTES, "%s/%ld/%ld", job->path, number / FILES_IN_FOLDER, number);
}

static void *room_for(size_t size_bytes) {
    void *room = NULL;
    errno = posix_memalign(&room, BLOCK_BYTES, size_bytes);
    if (errno)
        fail("there is no memory for a buffer");
    memset(room, 0, size_bytes);
    return room;
}

static void choose_offsets(struct job *job) {
    uint64_t state = 0x9e3779b97f4a7c15;
    struct stat status;
    if (fstat(job->fd, &status) < 0 || status.st_size < BLOCK_BYTES)
        fail(job->path);
    job->size_bytes = status.st_size;
    job->offsets = room_for(job->count * sizeof(off_t));
    for (long i = 0; i < job->count; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        job->offsets[i] = (off_t)(state % (status.st_size / BLOCK_BYTES)) * BLOCK_BYTES;
    }
}

static struct job job_of(int count, char **words) {
    if (count < 5) {
        fprintf(stderr, "usage: %s QUESTION PATH COUNT AT_ONCE [RANDOM]\n", words[0]);
        exit(2);
    }
    struct job job = {words[1], words[2], atol(words[3]), atoi(words[4]), -1, 0, NULL};
    if (job.count < 1 || job.at_once < 1 || job.at_once > AT_ONCE_MAX) {
        fprintf(stderr, "COUNT is 1 or more, AT_ONCE is 1 to %d\n", AT_ONCE_MAX);
        exit(2);
    }
    if (asks(&job, "small"))
        return job;
    int is_new = asks(&job, "write_all");
    int is_read = asks(&job, "read") || asks(&job, "read_all");
    int flags = is_new ? O_WRONLY | O_CREAT | O_TRUNC : is_read ? O_RDONLY : O_RDWR;
    job.fd = open(job.path, flags | O_CLOEXEC, 0644);
    if (job.fd < 0)
        fail(job.path);
    if (count > 5)
        posix_fadvise(job.fd, 0, 0, POSIX_FADV_RANDOM);
    if (!is_new && !asks(&job, "read_all"))
        choose_offsets(&job);
    return job;
}

static void report(double began_s) {
    printf("{\"took_s\": %.9f}\n", now_s() - began_s);
}

#endif
