/* cmd/realm/bandwidth.c - how fast this machine's memory can be read. */
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/thread.h"
#include "bench.h"

/* All together many times any cache; less of each where there are many threads. */
static const size_t STREAM_BYTES_MAX = 256 * MiB, STREAM_BYTES_MIN = 32 * MiB, ALL_BYTES = 1 * GiB;
/* Bytes between looks at the clock. */
enum { CHUNK_BYTES = 1 << 20 };

struct stream {
    struct thread thread;
    uint8_t *data;
    size_t data_bytes;
    uint64_t until_ns;
    uint64_t bytes;
    uint64_t sum; /* so that the reads are not optimised away */
};

struct bandwidth {
    unsigned threads;
    uint8_t *memory;
    size_t memory_bytes;
    struct stream *streams;
};

static size_t stream_bytes(unsigned threads)
{
    size_t part = ALL_BYTES / threads / CHUNK_BYTES * CHUNK_BYTES;
    part = part < STREAM_BYTES_MAX ? part : STREAM_BYTES_MAX;
    return part > STREAM_BYTES_MIN ? part : STREAM_BYTES_MIN;
}

size_t bandwidth_bytes(unsigned threads)
{
    return threads * stream_bytes(threads);
}

/* Runs fn on as many streams as threads can be started for; returns how many. */
static unsigned on_streams(struct bandwidth *b, void (*fn)(void *stream))
{
    unsigned started = 0;
    while (started < b->threads &&
           !thread_start(&b->streams[started].thread, "read", 0, fn, &b->streams[started]))
        started++;
    for (unsigned t = 0; t < started; t++)
        thread_join(&b->streams[t].thread);
    return started;
}

/* Untouched pages would all be the one page of zeros. */
static void touch(void *arg)
{
    struct stream *s = arg;
    for (size_t i = 0; i < s->data_bytes; i += 4096)
        s->data[i] = (uint8_t)i;
}

struct bandwidth *bandwidth_open(unsigned threads)
{
    struct bandwidth *b = mem_zalloc(sizeof(*b));
    if (!b)
        return NULL;
    b->threads = threads;
    b->streams = mem_zarray(threads, sizeof(*b->streams));
    b->memory_bytes = bandwidth_bytes(threads);
    b->memory = mem_pages(b->memory_bytes);
    if (!b->streams || !b->memory) {
        bandwidth_close(b);
        return NULL;
    }
    for (unsigned t = 0; t < threads; t++) {
        b->streams[t].data_bytes = stream_bytes(threads);
        b->streams[t].data = b->memory + t * stream_bytes(threads);
    }
    b->threads = on_streams(b, touch);
    if (b->threads == 0) {
        bandwidth_close(b);
        return NULL;
    }
    return b;
}

void bandwidth_close(struct bandwidth *b)
{
    if (!b)
        return;
    mem_pages_free(b->memory, b->memory_bytes);
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
        s->sum += sum_chunk((const uint64_t *)(s->data + at % s->data_bytes));
        s->bytes += CHUNK_BYTES;
    }
}

double bandwidth_measure(struct bandwidth *b, unsigned ms)
{
    uint64_t start = clock_ns(clock_system()), bytes = 0;
    for (unsigned t = 0; t < b->threads; t++) {
        b->streams[t].until_ns = start + ms * 1000000ull;
        b->streams[t].bytes = 0;
    }
    unsigned ran = on_streams(b, read_stream);
    for (unsigned t = 0; t < ran; t++)
        bytes += b->streams[t].bytes;
    return (double)bytes * 1e9 / (double)(clock_ns(clock_system()) - start);
}
