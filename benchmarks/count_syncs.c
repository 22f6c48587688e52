/* Watches a process's syncs from outside: preloaded, it writes each fsync and fdatasync down.

   The file named by SYNC_LOG_DIR and SPLITBRAIN_NODE is mapped into memory.  It begins with the number
   of syncs; then follow their times, begin and end, in nanoseconds of CLOCK_MONOTONIC.  Records are
   written before the call returns to the program, so that whoever has seen the program act on a sync
   finds the sync's record.  A process without these variables is left alone. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define CAPACITY 1000000

struct record {
    uint64_t begin_ns, end_ns;
};

struct log {
    _Atomic uint64_t count;
    struct record records[CAPACITY];
};

static struct log *the_log;
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

__attribute__((constructor)) static void start(void)
{
    const char *directory = getenv("SYNC_LOG_DIR"), *node = getenv("SPLITBRAIN_NODE");
    char path[4096];
    real_fsync = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    if (directory == NULL || node == NULL)
        return;
    snprintf(path, sizeof path, "%s/%s", directory, node);
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || ftruncate(file, sizeof(struct log)) != 0)
        abort();
    void *memory = mmap(NULL, sizeof(struct log), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (memory == MAP_FAILED)
        abort();
    close(file);
    the_log = memory;
}

static int timed(int (*sync)(int), int descriptor)
{
    uint64_t begin_ns = now_ns();
    int result = sync(descriptor);
    if (the_log != NULL && result == 0) {
        uint64_t place = atomic_fetch_add(&the_log->count, 1);
        if (place < CAPACITY)
            the_log->records[place] = (struct record){begin_ns, now_ns()};
    }
    return result;
}

int fsync(int descriptor)
{
    return timed(real_fsync, descriptor);
}

int fdatasync(int descriptor)
{
    return timed(real_fdatasync, descriptor);
}
