#include "util.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http/conn.h"

static uint64_t live_before;

uint64_t now_ms(void)
{
    return clock_ms(clock_system());
}

/* ------------------------------------------------------------------- server -- */

static void echo(struct http_exchange *x)
{
    struct buf b;
    buf_init(&b, 64 << 20);
    struct slice body = http_body(x);
    assert_int_equal(buf_addf(&b, "%s %s %s ", http_method(x), http_path(x), http_query(x)), 0);
    assert_int_equal(buf_add(&b, body.p, body.n), 0);
    http_respond(x, 200, "text/plain", NULL, 0, buf_slice(&b));
    buf_free(&b);
}

static void big(struct http_exchange *x)
{
    size_t n = strtoul(http_query(x), NULL, 10);
    uint8_t *p = mem_alloc(n);
    assert_non_null(p);
    memset(p, 'x', n);
    http_respond(x, 200, "text/plain", NULL, 0, (struct slice){p, n});
    mem_free(p);
}

static void flood(struct http_exchange *x)
{
    size_t n = strtoul(http_query(x), NULL, 10);
    static char data[1000];
    memset(data, 'x', sizeof(data));
    http_stream_start(x, 200, "text/event-stream", NULL, 0);
    for (size_t i = 0; i < n; i++)
        http_stream_event(x, "e", (struct slice){(const uint8_t *)data, sizeof(data)});
}

static void count(struct http_exchange *x)
{
    http_stream_start(x, 200, "text/plain", NULL, 0);
    http_stream_write(x, slice_of("one "));
    http_stream_write(x, slice_of(""));
    http_stream_write(x, slice_of("two "));
    http_stream_write(x, slice_of("three"));
    http_stream_end(x);
}

static void hold(struct app *a, struct http_exchange *x)
{
    assert_true(a->n_held < HELD_MAX);
    a->held[a->n_held++] = x;
}

static void request(void *ctx, struct http_exchange *x)
{
    struct app *a = ctx;
    const char *path = http_path(x);
    mutex_lock(&a->lock);
    if (strcmp(path, "/echo") == 0) {
        echo(x);
    } else if (strcmp(path, "/big") == 0) {
        big(x);
    } else if (strcmp(path, "/split") == 0) {
        const struct http_header header = {"X-Value", "a\r\nSet-Cookie: b"};
        http_respond(x, 200, "text/plain", &header, 1, slice_of(""));
    } else if (strcmp(path, "/count") == 0) {
        count(x);
    } else if (strcmp(path, "/hold") == 0) {
        hold(a, x);
    } else if (strcmp(path, "/events") == 0 || strcmp(path, "/pieces") == 0) {
        bool events = path[1] == 'e';
        http_stream_start(x, 200, events ? "text/event-stream" : "text/plain", NULL, 0);
        hold(a, x);
    } else if (strcmp(path, "/flood") == 0) {
        flood(x);
        hold(a, x);
    } else {
        http_respond(x, 404, "text/plain", NULL, 0, slice_of("nothing here"));
    }
    a->handled++;
    cond_broadcast(&a->changed);
    mutex_unlock(&a->lock);
}

static struct http_exchange *let_go(struct app *a, int at)
{
    struct http_exchange *x = a->held[at];
    memmove(a->held + at, a->held + at + 1, (size_t)(a->n_held - at - 1) * sizeof(*a->held));
    a->n_held--;
    return x;
}

static void gone(void *ctx, struct http_exchange *x)
{
    struct app *a = ctx;
    mutex_lock(&a->lock);
    int at = 0;
    while (at < a->n_held && a->held[at] != x)
        at++;
    assert_true(at < a->n_held); // never of one that was answered
    let_go(a, at);
    a->gone++;
    cond_broadcast(&a->changed);
    mutex_unlock(&a->lock);
}

/* Nobody wants what is sent to /unwanted; /other is another payer's. */
static bool wants_body(void *ctx, const struct http_exchange *x, uint32_t *payer)
{
    (void)ctx;
    *payer = strcmp(http_path(x), "/other") == 0;
    return strcmp(http_path(x), "/unwanted") != 0;
}

static void wake(void *ctx)
{
    struct app *a = ctx;
    mutex_lock(&a->lock);
    a->wakes++;
    if (a->job) {
        a->job(a, a->job_arg);
        a->job = NULL;
        cond_broadcast(&a->changed);
    }
    mutex_unlock(&a->lock);
}

static void tick(void *ctx)
{
    struct app *a = ctx;
    mutex_lock(&a->lock);
    a->ticks++;
    cond_broadcast(&a->changed);
    mutex_unlock(&a->lock);
}

static void on_signal(void *ctx, int sig)
{
    struct app *a = ctx;
    mutex_lock(&a->lock);
    a->signals = sig;
    cond_broadcast(&a->changed);
    mutex_unlock(&a->lock);
}

struct app *app_open(const struct http_limits *limits)
{
    static const char *const hosts[] = {"realm.example"};
    struct http_options options = {.hosts = hosts, .n_hosts = 1};
    if (limits)
        options.limits = *limits;
    live_before = mem_live();
    struct app *a = mem_zalloc(sizeof(*a));
    assert_non_null(a);
    const struct http_handler handler = {.wants_body = wants_body,
                                         .request = request,
                                         .gone = gone,
                                         .wake = wake,
                                         .tick = tick,
                                         .signal = on_signal,
                                         .ctx = a};
    struct realm_error err = {0};
    assert_int_equal(mutex_init(&a->lock), 0);
    assert_int_equal(cond_init(&a->changed), 0);
    assert_int_equal(http_open(&a->s, &options, &handler, &err), 0);
    return a;
}

void app_listen(struct app *a, const struct http_listen *at)
{
    struct realm_error err = {0};
    if (http_listen(a->s, at, &a->port, &err))
        fail_msg("%s", err.message);
}

static void run(void *arg)
{
    struct app *a = arg;
    http_run(a->s);
    mutex_lock(&a->lock);
    a->returned = true;
    cond_broadcast(&a->changed);
    mutex_unlock(&a->lock);
}

void app_run(struct app *a)
{
    assert_int_equal(thread_start(&a->thread, "server", 0, run, a), 0);
}

struct app *app_start(const struct http_limits *limits)
{
    struct app *a = app_open(limits);
    app_listen(a, &(struct http_listen){.host = "127.0.0.1", .tag = 7});
    app_run(a);
    return a;
}

static void stop(struct app *a, void *arg)
{
    (void)arg;
    http_stop(a->s);
}

void app_stop(struct app *a)
{
    if (!a->returned)
        app_do(a, stop, NULL);
    thread_join(&a->thread);
    http_close(a->s);
    assert_int_equal(a->n_held, 0); // the rest has gone
    cond_destroy(&a->changed);
    mutex_destroy(&a->lock);
    mem_free(a);
    assert_int_equal(mem_live(), live_before);
}

void app_do(struct app *a, void (*job)(struct app *a, void *arg), void *arg)
{
    mutex_lock(&a->lock);
    a->job = job;
    a->job_arg = arg;
    http_wake(a->s);
    while (a->job)
        cond_wait(&a->changed, &a->lock);
    mutex_unlock(&a->lock);
}

static void answer(struct app *a, void *arg)
{
    (void)arg;
    assert_true(a->n_held > 0);
    http_respond(let_go(a, 0), 200, "text/plain", NULL, 0, slice_of("answer"));
}

void app_answer(struct app *a)
{
    app_do(a, answer, NULL);
}

static void event(struct app *a, void *arg)
{
    for (int i = 0; i < a->n_held; i++)
        http_stream_event(a->held[i], NULL, slice_of(arg));
}

void app_event(struct app *a, char *data)
{
    app_do(a, event, data);
}

static void end(struct app *a, void *arg)
{
    (void)arg;
    assert_true(a->n_held > 0);
    http_stream_end(let_go(a, 0));
}

void app_end(struct app *a)
{
    app_do(a, end, NULL);
}

static void drain(struct app *a, void *arg)
{
    (void)arg;
    http_drain(a->s);
}

void app_drain(struct app *a)
{
    app_do(a, drain, NULL);
}

static void stats(struct app *a, void *arg)
{
    http_stats(a->s, arg);
}

struct http_stats app_stats(struct app *a)
{
    struct http_stats out;
    app_do(a, stats, &out);
    return out;
}

int app_count(struct app *a, const int *number)
{
    mutex_lock(&a->lock);
    int n = *number;
    mutex_unlock(&a->lock);
    return n;
}

bool app_waits(struct app *a, const int *number, int value, int ms)
{
    uint64_t until = clock_ns(clock_system()) + (uint64_t)ms * 1000000u;
    mutex_lock(&a->lock);
    while (*number != value && cond_wait_until(&a->changed, &a->lock, until))
        ;
    bool there = *number == value;
    mutex_unlock(&a->lock);
    return there;
}

bool app_reaches(struct app *a, const int *number, int value, int ms)
{
    uint64_t until = clock_ns(clock_system()) + (uint64_t)ms * 1000000u;
    mutex_lock(&a->lock);
    while (*number < value && cond_wait_until(&a->changed, &a->lock, until))
        ;
    bool there = *number >= value;
    mutex_unlock(&a->lock);
    return there;
}

bool app_returned(struct app *a, int ms)
{
    uint64_t until = clock_ns(clock_system()) + (uint64_t)ms * 1000000u;
    mutex_lock(&a->lock);
    while (!a->returned && cond_wait_until(&a->changed, &a->lock, until))
        ;
    bool there = a->returned;
    mutex_unlock(&a->lock);
    return there;
}

/* ------------------------------------------------------------------ clients -- */

void connect_socket(const struct app *a, int fd)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons(a->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
}

static struct sockaddr_un unix_address(const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
    return at;
}

int client_unix(const char *path)
{
    struct sockaddr_un at = unix_address(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    return fd;
}

int socket_file(const char *path)
{
    struct sockaddr_un at = unix_address(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(fd, 1), 0);
    return fd;
}

size_t conn_bytes(void)
{
    return sizeof(struct conn);
}

static int connect_with(const struct app *a, int receive_bytes)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    const int on = 1;
    assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0);
    if (receive_bytes)
        assert_int_equal(
            setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes)), 0);
    connect_socket(a, fd);
    return fd;
}

int client(const struct app *a)
{
    return connect_with(a, 0);
}

int client_small(const struct app *a)
{
    return connect_with(a, 4096);
}

void put_n(int fd, const void *p, size_t n)
{
    const char *at = p;
    while (n > 0) {
        ssize_t sent = send(fd, at, n, MSG_NOSIGNAL);
        if (sent < 0)
            return; // the server may have closed, which the test sees by what it reads
        at += sent;
        n -= (size_t)sent;
    }
}

void put(int fd, const char *text)
{
    put_n(fd, text, strlen(text));
}

void put_read(struct app *a, int fd, const char *text)
{
    uint64_t until = now_ms() + SOON_MS, wanted = app_stats(a).bytes_in + strlen(text);
    put(fd, text);
    while (app_stats(a).bytes_in < wanted) {
        assert_true(now_ms() < until);
        usleep(1000);
    }
}

static char received[8 << 20];

static const char *get(int fd, const char *text, int ms, bool *ended)
{
    uint64_t until = now_ms() + (uint64_t)ms;
    size_t n = 0;
    *ended = false;
    received[0] = '\0';
    while (!*ended && !(text && strstr(received, text)) && n < sizeof(received) - 1) {
        int64_t left = (int64_t)until - (int64_t)now_ms();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int ready = left < 0 ? 0 : poll(&p, 1, (int)left);
        if (ready < 0 && errno == EINTR) // it was stopped and goes on
            continue;
        if (ready < 1)
            break;
        ssize_t got = recv(fd, received + n, sizeof(received) - 1 - n, 0);
        *ended = got <= 0;
        n += got > 0 ? (size_t)got : 0;
        received[n] = '\0';
    }
    return received;
}

const char *get_until(int fd, const char *text, int ms)
{
    bool ended;
    return get(fd, text, ms, &ended);
}

const char *get_all(int fd)
{
    bool ended;
    const char *all = get(fd, NULL, SOON_MS, &ended);
    assert_true(ended);
    return all;
}

bool closed_within(int fd, int ms)
{
    bool ended;
    get(fd, NULL, ms, &ended);
    return ended;
}

void reset(int fd)
{
    const struct linger now = {.l_onoff = 1};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
    close(fd);
}

const char *ask(const struct app *a, const char *text)
{
    int fd = client(a);
    put(fd, text);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    const char *all = get_all(fd);
    close(fd);
    return all;
}

void refused(const struct app *a, const char *text, size_t n, int status, const char *code)
{
    char first[32], wanted[64];
    int fd = client(a);
    put_n(fd, text, n);
    bool ended;
    const char *all = get(fd, NULL, SOON_MS, &ended);
    close(fd);
    if (!ended)
        fail_msg("not refused: %.200s\ngot: %.600s", text, all);
    snprintf(first, sizeof(first), "HTTP/1.1 %d ", status);
    snprintf(wanted, sizeof(wanted), "\"code\":\"%s\"", code);
    if (strncmp(all, first, strlen(first)) != 0 || !strstr(all, wanted) ||
        !strstr(all, "\r\nConnection: close\r\n"))
        fail_msg("wanted %d %s for: %.200s\ngot: %.600s", status, code, text, all);
    /* Nothing after it is served. */
    assert_null(strstr(all, "HTTP/1.1 200"));
}
