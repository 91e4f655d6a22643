/* The least that blocking calls can do with files: pread and pwrite, from as many threads as there
 * are operations at once. See files_limit.h for how to call it.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "files_limit.h"

static struct job job;
static atomic_long next_number;

static void read_small(long number, char *buffer) {
    char path[PATH_BYTES];
    small_path(&job, number, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, buffer, CHUNK_BYTES) < 0)
        fail(path);
    close(fd);
}

static void do_one(long number, char *buffer) {
    ssize_t done;
    if (asks(&job, "small")) {
        read_small(number, buffer);
        return;
    }
    if (asks(&job, "read"))
        done = pread(job.fd, buffer, BLOCK_BYTES, job.offsets[number]);
    else
        done = pwrite(job.fd, buffer, BLOCK_BYTES, job.offsets[number]);
    if (done != BLOCK_BYTES)
        fail("a block was read or written in part");
    if (asks(&job, "sync") && fsync(job.fd) < 0)
        fail("fsync");
}

static void *work(void *unused) {
    char *buffer = room_for(CHUNK_BYTES);
    long number;
    (void)unused;
    while ((number = atomic_fetch_add(&next_number, 1)) < job.count)
        do_one(number, buffer);
    free(buffer);
    return NULL;
}

static void read_all(void) {
    char *buffer = room_for(CHUNK_BYTES);
    ssize_t done;
    while ((done = read(job.fd, buffer, CHUNK_BYTES)) > 0)
        ;
    if (done < 0)
        fail(job.path);
}

static void write_all(void) {
    char *buffer = room_for(CHUNK_BYTES);
    for (long left = job.count; left > 0; left -= CHUNK_BYTES)
        if (write(job.fd, buffer, CHUNK_BYTES) != CHUNK_BYTES)
            fail(job.path);
    if (fsync(job.fd) < 0)
        fail("fsync");
}

static void run_threads(void) {
    pthread_t threads[AT_ONCE_MAX];
    for (int i = 0; i < job.at_once; i++) {
        errno = pthread_create(&threads[i], NULL, work, NULL);
        if (errno)
            fail("a thread cannot be started");
    }
    for (int i = 0; i < job.at_once; i++)
        pthread_join(threads[i], NULL);
}

int main(int count, char **words) {
    job = job_of(count, words);
    double began_s = now_s();
    if (asks(&job, "read_all"))
        read_all();
    else if (asks(&job, "write_all"))
        write_all();
    else if (job.at_once == 1)
        work(NULL);
    else
        run_threads();
    report(began_s);
    return 0;
}
