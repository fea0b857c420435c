/* The same work for an engine in this process and for a server over HTTP: so many streams, each
 * asking for one completion after another.  bench/server compares the two.
 *
 *   load engine MODEL STREAMS REQUESTS TOKENS [WORDS]
 *   load http PORT STREAMS REQUESTS TOKENS [WORDS]
 *   load idle PORT CONNECTIONS        opens them, says so, and waits for its input to end
 *
 * WORDS: of the prompt (15).  LOAD_KEYS in the environment: API keys with commas between them,
 * which the streams over HTTP use by turns.  Prints one line of name=value: tokens per second of
 * all streams from the first request's start to the last one's end, and the times to first tokens
 * in ms. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"
#include "realm/realm.h"

enum { STREAMS_MAX = 2048, REQUESTS_MAX = 1 << 16, BUFFER_BYTES = 1 << 16, PROMPT_MAX = 1 << 15 };

static char prompt[PROMPT_MAX];

static void make_prompt(size_t words)
{
    static const char *const cycle[] = {"Once", "upon", "a",     "time",  "there",
                                        "was",  "a",    "small", "house", "at",
                                        "the",  "end",  "of",    "a",     "long"};
    size_t n = 0;
    for (size_t i = 0; i < words && n < PROMPT_MAX - 16; i++)
        n += (size_t)snprintf(prompt + n, sizeof(prompt) - n, "%s%s", i ? " " : "",
                              cycle[i % ARRAY_LEN(cycle)]);
}

struct result {
    double *first_ms; /* (n_max) */
    size_t n, n_max;
    uint64_t tokens;
    struct mutex lock; /* of the engine's streams */
};

static uint64_t now_ns(void)
{
    return clock_ns(clock_system());
}

static int fail(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    return 1;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(struct result *r, uint64_t ns)
{
    qsort(r->first_ms, r->n, sizeof(*r->first_ms), by_size);
    printf("tokens_per_s=%.2f first_ms=%.3f first_p99_ms=%.3f requests=%zu\n",
           (double)r->tokens * 1e9 / (double)ns, r->first_ms[r->n / 2],
           r->first_ms[(r->n - 1) * 99 / 100], r->n);
}

static void note(struct result *r, uint64_t first_ns, uint64_t tokens)
{
    mutex_lock(&r->lock);
    if (r->n < r->n_max)
        r->first_ms[r->n++] = (double)first_ns * 1e-6;
    r->tokens += tokens;
    mutex_unlock(&r->lock);
}

/* ---- in this process ---- */

struct stream {
    struct thread thread;
    struct realm_model *model;
    struct result *result;
    int requests;
    uint32_t tokens;
};

static void ask_engine(struct stream *s)
{
    struct realm_request request;
    struct realm_gen *gen;
    struct realm_event event;
    uint64_t start = now_ns(), first = 0, tokens = 0;
    realm_request_init(&request, REALM_DOOR_OPENAI);
    request.text = prompt;
    request.text_bytes = strlen(prompt);
    request.text_flags = REALM_TEXT_BOS;
    request.sampling.max_tokens = s->tokens;
    request.sampling.temperature = 0;
    request.ignore_end = true;
    if (realm_gen_start(&gen, s->model, &request, NULL))
        return;
    while (realm_gen_next(gen, &event, NULL) == 0 && event.kind == REALM_EVENT_TOKEN) {
        first = first ? first : now_ns();
        tokens++;
    }
    realm_gen_close(gen);
    note(s->result, first - start, tokens);
}

static void run_stream(void *arg)
{
    struct stream *s = arg;
    for (int i = 0; i < s->requests; i++)
        ask_engine(s);
}

static int engine(const char *path, size_t n, int requests, uint32_t tokens, struct result *r)
{
    static struct stream streams[STREAMS_MAX];
    struct realm *engine;
    struct realm_model *model;
    struct realm_error err = {0};
    if (realm_open(&engine, NULL, &err) || realm_model_open(&model, engine, path, NULL, &err)) {
        fprintf(stderr, "load: %s\n", err.message);
        return 1;
    }
    struct stream warm = {.model = model, .result = r, .tokens = 4};
    ask_engine(&warm);
    r->n = 0;
    r->tokens = 0;
    uint64_t start = now_ns();
    for (size_t i = 0; i < n; i++) {
        streams[i] =
            (struct stream){.model = model, .result = r, .requests = requests, .tokens = tokens};
        if (thread_start(&streams[i].thread, "load", 0, run_stream, &streams[i]))
            return fail("a thread");
    }
    for (size_t i = 0; i < n; i++)
        thread_join(&streams[i].thread);
    report(r, now_ns() - start);
    realm_model_close(model);
    realm_close(engine);
    return 0;
}

/* ---- over HTTP ---- */

struct client {
    int fd;
    int left; /* requests to come */
    uint64_t start_ns, first_ns, events;
    size_t n;        /* bytes of buffer */
    const char *key; /* up to a comma; NULL: none */
    char buffer[BUFFER_BYTES];
};

/* The i-th of the keys, by turns. */
static const char *key_of(const char *keys, size_t i)
{
    size_t n = 1;
    if (!keys || !*keys)
        return NULL;
    for (const char *p = keys; *p; p++)
        n += *p == ',';
    const char *key = keys;
    for (i %= n; i > 0; i--)
        key = strchr(key, ',') + 1;
    return key;
}

static int dial(int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof(at)))
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    return fd;
}

static int send_request(struct client *c, uint32_t tokens)
{
    char body[PROMPT_MAX + 1024], head[512];
    int key = c->key ? (int)strcspn(c->key, ",") : 0;
    int n = snprintf(body, sizeof(body),
                     "{\"prompt\":\"%s\",\"max_tokens\":%u,\"temperature\":0,\"stream\":true,"
                     "\"ignore_eos\":true}",
                     prompt, tokens);
    int m =
        snprintf(head, sizeof(head),
                 "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n"
                 "%s%.*s%s\r\n",
                 n, key ? "Authorization: Bearer " : "", key, key ? c->key : "", key ? "\r\n" : "");
    memmove(body + m, body, (size_t)n);
    memcpy(body, head, (size_t)m);
    c->start_ns = now_ns();
    c->first_ns = c->events = c->n = 0;
    return write(c->fd, body, (size_t)(n + m)) == n + m ? 0 : -1;
}

/* Counts the events that are whole and keeps the rest; 1 when the answer is over. */
static int read_events(struct client *c)
{
    ssize_t got = read(c->fd, c->buffer + c->n, sizeof(c->buffer) - 1 - c->n);
    if (got <= 0)
        return -1;
    c->n += (size_t)got;
    c->buffer[c->n] = '\0';
    char *at = c->buffer, *end;
    int over = 0;
    while ((end = strstr(at, "\n\n"))) {
        const char *data = strstr(at, "data: ");
        *end = '\0';
        if (data && data < end && strncmp(data, "data: [DONE]", 12) == 0)
            over = 1;
        else if (data && data < end && c->events++ == 0)
            c->first_ns = now_ns();
        at = end + 2;
    }
    c->n -= (size_t)(at - c->buffer);
    memmove(c->buffer, at, c->n);
    return over;
}

static int http(int port, size_t n, int requests, uint32_t tokens, struct result *r)
{
    static struct pollfd polls[STREAMS_MAX];
    struct client *clients = mem_zarray(n, sizeof(*clients));
    size_t open = n;
    uint64_t start = now_ns();
    for (size_t i = 0; clients && i < n; i++) {
        clients[i].fd = dial(port);
        clients[i].left = requests;
        clients[i].key = key_of(getenv("LOAD_KEYS"), i);
        polls[i] = (struct pollfd){.fd = clients[i].fd, .events = POLLIN};
        if (clients[i].fd < 0 || send_request(&clients[i], tokens))
            return fail("the server");
    }
    while (clients && open) {
        if (poll(polls, (nfds_t)n, 60000) <= 0)
            return fail("no answer");
        for (size_t i = 0; i < n; i++) {
            struct client *c = &clients[i];
            if (polls[i].fd < 0 || !polls[i].revents)
                continue;
            int over = read_events(c);
            if (over < 0)
                return fail("an answer that ends too early");
            if (!over)
                continue;
            note(r, c->first_ns - c->start_ns, c->events - 1); // the last says why it ended
            if (--c->left == 0) {
                close(c->fd);
                polls[i].fd = -1;
                open--;
            } else if (send_request(c, tokens)) {
                return fail("the server");
            }
        }
    }
    report(r, now_ns() - start);
    mem_free(clients);
    return 0;
}

/* ---- connections that do nothing ---- */

static int idle(int port, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char answer[1024];
        static const char request[] = "GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n";
        int fd = dial(port);
        if (fd < 0 || write(fd, request, sizeof(request) - 1) < 0 ||
            read(fd, answer, sizeof(answer)) <= 0)
            return fail("a connection");
    }
    printf("connections=%zu\n", n);
    fflush(stdout);
    char c;
    while (read(STDIN_FILENO, &c, 1) > 0)
        ;
    return 0;
}

int main(int argc, char **argv)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    if (argc == 4 && strcmp(argv[1], "idle") == 0)
        return idle((int)strtol(argv[2], NULL, 10), strtoul(argv[3], NULL, 10));
    if (argc != 6 && argc != 7)
        return fail("usage: load engine|http MODEL|PORT STREAMS REQUESTS TOKENS [WORDS]");
    size_t n = strtoul(argv[3], NULL, 10);
    int requests = (int)strtol(argv[4], NULL, 10);
    uint32_t tokens = (uint32_t)strtoul(argv[5], NULL, 10);
    make_prompt(argc == 7 ? strtoul(argv[6], NULL, 10) : 15);
    struct result r = {.n_max = n * (size_t)requests + 1};
    r.first_ms = mem_zarray(r.n_max, sizeof(double));
    if (!r.first_ms || n == 0 || n > STREAMS_MAX || r.n_max > REQUESTS_MAX || mutex_init(&r.lock))
        return fail("bad numbers");
    int status = strcmp(argv[1], "engine") == 0
                     ? engine(argv[2], n, requests, tokens, &r)
                     : http((int)strtol(argv[2], NULL, 10), n, requests, tokens, &r);
    mutex_destroy(&r.lock);
    mem_free(r.first_ms);
    return status;
}
