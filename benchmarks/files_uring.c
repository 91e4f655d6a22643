/* The least that io_uring can do with files: one thread, one ring, so many requests in flight.
 *
 * By the kernel's own calls, without liburing. See files_limit.h for how to call it.
 */
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "files_limit.h"

enum { ENTRIES = 256 };

/* What an operation does next; a block has one or two steps, a small file three. */
enum step { OPEN, READ, CLOSE, WRITE, SYNC };

struct operation {
    enum step step;
    int fd;
    off_t offset;
    unsigned length;
    char *buffer;
    char path[PATH_BYTES];
};

struct ring {
    int fd;
    unsigned *sq_tail, *sq_mask, *sq_array;
    unsigned *cq_head, *cq_tail, *cq_mask;
    struct io_uring_sqe *sqes;
    struct io_uring_cqe *cqes;
    unsigned pending;
};

static struct job job;
static struct ring ring;
static long begun;

static void *mapped(size_t size_bytes, off_t what) {
    int flags = MAP_SHARED | MAP_POPULATE;
    void *place = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, flags, ring.fd, what);
    if (place == MAP_FAILED)
        fail("io_uring's memory cannot be mapped");
    return place;
}

static void open_ring(void) {
    struct io_uring_params params;
    memset(&params, 0, sizeof params);
    ring.fd = syscall(__NR_io_uring_setup, ENTRIES, &params);
    if (ring.fd < 0)
        fail("not available: io_uring cannot be used here");
    char *sq = mapped(params.sq_off.array + params.sq_entries * 4, IORING_OFF_SQ_RING);
    size_t cqes_bytes = params.cq_entries * sizeof(struct io_uring_cqe);
    char *cq = mapped(params.cq_off.cqes + cqes_bytes, IORING_OFF_CQ_RING);
    ring.sqes = mapped(params.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
    ring.sq_tail = (unsigned *)(sq + params.sq_off.tail);
    ring.sq_mask = (unsigned *)(sq + params.sq_off.ring_mask);
    ring.sq_array = (unsigned *)(sq + params.sq_off.array);
    ring.cq_head = (unsigned *)(cq + params.cq_off.head);
    ring.cq_tail = (unsigned *)(cq + params.cq_off.tail);
    ring.cq_mask = (unsigned *)(cq + params.cq_off.ring_mask);
    ring.cqes = (struct io_uring_cqe *)(cq + params.cq_off.cqes);
}

static void submit(struct operation *operation) {
    static const unsigned char opcodes[] = {
        [OPEN] = IORING_OP_OPENAT, [READ] = IORING_OP_READ, [CLOSE] = IORING_OP_CLOSE,
        [WRITE] = IORING_OP_WRITE, [SYNC] = IORING_OP_FSYNC,
    };
    unsigned tail = *ring.sq_tail, index = tail & *ring.sq_mask;
    struct io_uring_sqe *sqe = &ring.sqes[index];
    memset(sqe, 0, sizeof *sqe);
    sqe->opcode = opcodes[operation->step];
    sqe->fd = operation->fd;
    sqe->user_data = (uintptr_t)operation;
    if (operation->step == OPEN) {
        sqe->fd = AT_FDCWD;
        sqe->addr = (uintptr_t)operation->path;
        sqe->open_flags = O_RDONLY | O_CLOEXEC;
    } else if (operation->step == READ || operation->step == WRITE) {
        sqe->addr = (uintptr_t)operation->buffer;
        sqe->len = operation->length;
        sqe->off = operation->offset;
    }
    ring.sq_array[index] = index;
    __atomic_store_n(ring.sq_tail, tail + 1, __ATOMIC_RELEASE);
    ring.pending++;
}

/* Begin the next operation of the job. Returns whether there was one. */
static int begin(struct operation *operation) {
    off_t at = (off_t)begun * CHUNK_BYTES;
    operation->fd = job.fd;
    if (asks(&job, "read_all") || asks(&job, "write_all")) {
        int is_read = asks(&job, "read_all");
        if (at > job.count || (at == job.count && is_read))
            return 0;
        operation->step = is_read ? READ : at == job.count ? SYNC : WRITE;
        operation->offset = at;
        operation->length = CHUNK_BYTES;
    } else if (begun == job.count) {
        return 0;
    } else if (asks(&job, "small")) {
        small_path(&job, begun, operation->path);
        operation->step = OPEN;
        operation->offset = 0;
        operation->length = CHUNK_BYTES;
    } else {
        operation->step = asks(&job, "read") ? READ : WRITE;
        operation->offset = job.offsets[begun];
        operation->length = BLOCK_BYTES;
    }
    begun++;
    submit(operation);
    return 1;
}

/* Do what follows a step. Returns whether the operation, or a new one, goes on. */
static int go_on(struct operation *operation, int result) {
    if (result < 0) {
        errno = -result;
        fail("a request failed");
    }
    int is_block = operation->step == READ || operation->step == WRITE;
    if (is_block && !asks(&job, "small") && (unsigned)result != operation->length) {
        fprintf(stderr, "a block was read or written in part\n");
        exit(1);
    }
    if (operation->step == OPEN) {
        operation->fd = result;
        operation->step = READ;
    } else if (operation->step == READ && asks(&job, "small")) {
        operation->step = CLOSE;
    } else if (operation->step == WRITE && asks(&job, "sync")) {
        operation->step = SYNC;
    } else {
        return begin(operation);
    }
    submit(operation);
    return 1;
}

static void enter(void) {
    long taken = syscall(__NR_io_uring_enter, ring.fd, ring.pending, 1, IORING_ENTER_GETEVENTS,
                         NULL, 0);
    if (taken < 0 && errno != EINTR)
        fail("io_uring_enter");
    if (taken > 0)
        ring.pending -= taken;
}

int main(int count, char **words) {
    job = job_of(count, words);
    open_ring();
    double began_s = now_s();
    int in_flight = 0;
    struct operation *operations = room_for(job.at_once * sizeof *operations);
    for (int i = 0; i < job.at_once; i++) {
        operations[i].buffer = room_for(job.fd < 0 || job.at_once == 1 ? CHUNK_BYTES : BLOCK_BYTES);
        in_flight += begin(&operations[i]);
    }
    while (in_flight > 0) {
        enter();
        unsigned head = *ring.cq_head;
        for (; head != __atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE); head++) {
            struct io_uring_cqe *cqe = &ring.cqes[head & *ring.cq_mask];
            in_flight += go_on((struct operation *)(uintptr_t)cqe->user_data, cqe->res) - 1;
        }
        __atomic_store_n(ring.cq_head, head, __ATOMIC_RELEASE);
    }
    report(began_s);
    return 0;
}
