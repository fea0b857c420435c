/* cmd/realm/bandwidth.c - how fast this machine's memory can be read. */
#include <stdatomic.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/thread.h"
#include "bench.h"

/* Per thread: many times any cache. */
static const size_t STREAM_BYTES = 256 * MiB;
/* Bytes between looks at the clock. */
enum { CHUNK_BYTES = 1 << 20 };

struct stream {
    struct thread thread;
    const uint64_t *data; /* STREAM_BYTES */
    uint64_t until_ns;
    uint64_t bytes;
    uint64_t sum; /* so that the reads are not optimised away */
};

struct bandwidth {
    unsigned threads;
    uint8_t *memory;
    struct stream *streams;
};

struct bandwidth *bandwidth_open(unsigned threads)
{
    struct bandwidth *b = mem_zalloc(sizeof(*b));
    if (!b)
        return NULL;
    b->threads = threads;
    b->streams = mem_zarray(threads, sizeof(*b->streams));
    b->memory = mem_pages(threads * STREAM_BYTES);
    if (!b->streams || !b->memory) {
        bandwidth_close(b);
        return NULL;
    }
    /* Untouched pages would all be the one page of zeros. */
    for (size_t i = 0; i < threads * STREAM_BYTES; i += 4096)
        b->memory[i] = (uint8_t)i;
    for (unsigned t = 0; t < threads; t++)
        b->streams[t].data = (const uint64_t *)(b->memory + t * STREAM_BYTES);
    return b;
}

void bandwidth_close(struct bandwidth *b)
{
    if (!b)
        return;
    mem_pages_free(b->memory, b->threads * STREAM_BYTES);
    mem_free(b->streams);
    mem_free(b);
}

/* Plain 8-byte loads do not reach the limit of the memory; whole vectors do. */
CPU_CLONES static uint64_t sum_chunk(const uint64_t *p)
{
    enum { LANES = 32 };
    uint64_t s[LANES] = {0}, sum = 0;
    for (size_t i = 0; i < CHUNK_BYTES / sizeof(*p); i += LANES)
        for (size_t j = 0; j < LANES; j++)
            s[j] += p[i + j];
    for (size_t j = 0; j < LANES; j++)
        sum += s[j];
    return sum;
}

static void read_stream(void *arg)
{
    struct stream *s = arg;
    for (size_t at = 0; clock_ns(clock_system()) < s->until_ns; at += CHUNK_BYTES) {
        s->sum += sum_chunk(s->data + at % STREAM_BYTES / sizeof(*s->data));
        s->bytes += CHUNK_BYTES;
    }
}

double bandwidth_measure(struct bandwidth *b, unsigned ms)
{
    uint64_t start = clock_ns(clock_system()), bytes = 0;
    unsigned started = 0;
    for (; started < b->threads; started++) {
        struct stream *s = &b->streams[started];
        s->until_ns = start + ms * 1000000ull;
        s->bytes = 0;
        if (thread_start(&s->thread, "read", 0, read_stream, s))
            break;
    }
    for (unsigned t = 0; t < started; t++) {
        thread_join(&b->streams[t].thread);
        bytes += b->streams[t].bytes;
    }
    return (double)bytes * 1e9 / (double)(clock_ns(clock_system()) - start);
}
