/* cmd/realm/pull_http.c - GET by libcurl: certificates checked, redirects bounded, patience with
 * networks and busy servers, a token that goes to no second host. */
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/err.h"
#include "base/mem.h"
#include "cmd.h"
#include "pull.h"

enum {
    REFUSED_BODY_MAX = 64 << 10, /* of an answer that is an error, to keep the connection */
    LINK_MAX = 2048,
    STALL_S = 60,
    CONNECT_S = 30,
    AGAIN = 1, /* of an attempt */
};

struct pull_http {
    CURL *easy;
    char *token;
    uint32_t tries;
    const atomic_bool *stop;
    char said[CURL_ERROR_SIZE];
    /* of the answer that is being read */
    char etag[PULL_ETAG_MAX];
    char next[LINK_MAX];
    uint64_t range_start;
    bool has_range;
    /* of the attempt */
    const struct pull_sink *sink;
    struct realm_error *err;
    uint64_t asked_from, refused;
    int status; /* what the sink said */
    bool begun, range_is_wrong, no_range;
};

/* ---- headers ---- */

static bool header_is(const char *line, size_t n, const char *name, const char **value,
                      size_t *value_n)
{
    size_t name_n = strlen(name);
    if (n <= name_n || line[name_n] != ':' || strncasecmp(line, name, name_n) != 0)
        return false;
    const char *p = line + name_n + 1, *end = line + n;
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    while (end > p && (unsigned char)end[-1] <= ' ')
        end--;
    *value = p;
    *value_n = (size_t)(end - p);
    return true;
}

/* <URL>; rel="next", <URL>; rel="last" */
static void read_link(struct pull_http *h, const char *p, size_t n)
{
    const char *end = p + n, *open, *close;
    while ((open = memchr(p, '<', (size_t)(end - p))) &&
           (close = memchr(open, '>', (size_t)(end - open)))) {
        const char *more = memchr(close, '<', (size_t)(end - close));
        size_t params = (size_t)((more ? more : end) - close), url = (size_t)(close - open) - 1;
        if ((memmem(close, params, "rel=\"next\"", 10) || memmem(close, params, "rel=next", 8)) &&
            url < sizeof(h->next)) {
            memcpy(h->next, open + 1, url);
            h->next[url] = '\0';
            return;
        }
        p = close;
    }
}

static void read_range(struct pull_http *h, const char *value, size_t n)
{
    char text[64], *end;
    if (n >= sizeof(text) || n < 7 || strncasecmp(value, "bytes ", 6) != 0)
        return;
    memcpy(text, value, n);
    text[n] = '\0';
    errno = 0;
    unsigned long long start = strtoull(text + 6, &end, 10);
    h->has_range = !errno && *end == '-' && text[6] >= '0' && text[6] <= '9';
    h->range_start = start;
}

static size_t on_header(char *line, size_t one, size_t n, void *ctx)
{
    struct pull_http *h = ctx;
    const char *value;
    size_t value_n;
    (void)one;
    if (n > 5 && memcmp(line, "HTTP/", 5) == 0) { // of a redirect, or what it leads to
        h->etag[0] = h->next[0] = '\0';
        h->has_range = false;
    } else if (header_is(line, n, "etag", &value, &value_n)) {
        bool strong = value_n > 2 && value_n < sizeof(h->etag) && value[0] == '"';
        memcpy(h->etag, value, strong ? value_n : 0);
        h->etag[strong ? value_n : 0] = '\0';
    } else if (header_is(line, n, "content-range", &value, &value_n)) {
        read_range(h, value, value_n);
    } else if (header_is(line, n, "link", &value, &value_n)) {
        read_link(h, value, value_n);
    }
    return n;
}

/* ---- the body ---- */

static long answer_code(const struct pull_http *h)
{
    long code = 0;
    curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &code);
    return code;
}

static bool is_stopped(const struct pull_http *h)
{
    return atomic_load(h->stop);
}

/* A server may ignore the range, but not answer another one. */
static int begin_body(struct pull_http *h, long code)
{
    h->begun = true;
    uint64_t start = code == 206 ? h->range_start : 0;
    if (code == 206 && (!h->has_range || start != h->asked_from)) {
        h->range_is_wrong = true;
        return REALM_E_IO;
    }
    h->status = h->sink->begin(h->sink->ctx, start, h->etag, h->err);
    return h->status;
}

static size_t on_data(char *p, size_t one, size_t n, void *ctx)
{
    struct pull_http *h = ctx;
    long code = answer_code(h);
    (void)one;
    if (is_stopped(h))
        return 0;
    if (code != 200 && code != 206) {
        h->refused += n;
        return h->refused > REFUSED_BODY_MAX ? 0 : n;
    }
    if (!h->begun && begin_body(h, code))
        return 0;
    h->status = h->sink->data(h->sink->ctx, p, n, h->err);
    return h->status ? 0 : n;
}

static int on_progress(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a, (void)b, (void)c, (void)d;
    return is_stopped(ctx);
}

/* ---- an attempt ---- */

#define SET(option, value) (bad |= curl_easy_setopt(h->easy, option, value) != CURLE_OK)

static bool configure(struct pull_http *h, const char *url, struct curl_slist *headers)
{
    bool bad = false;
    bool secure = strncasecmp(url, "https:", 6) == 0;
    char agent[64], range[32];
    snprintf(agent, sizeof(agent), "realm/%s", realm_version());
    snprintf(range, sizeof(range), "%llu-", (unsigned long long)h->asked_from);
    curl_easy_reset(h->easy); // keeps connections
    SET(CURLOPT_URL, url);
    SET(CURLOPT_USERAGENT, agent);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_ERRORBUFFER, h->said);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_REDIR_PROTOCOLS_STR, secure ? "https" : "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 1L);
    SET(CURLOPT_MAXREDIRS, (long)PULL_REDIRECTS_MAX);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
    SET(CURLOPT_LOW_SPEED_LIMIT, 1L);
    SET(CURLOPT_LOW_SPEED_TIME, (long)STALL_S);
    SET(CURLOPT_BUFFERSIZE, 256L << 10);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, h);
    SET(CURLOPT_WRITEFUNCTION, on_data);
    SET(CURLOPT_WRITEDATA, h);
    SET(CURLOPT_XFERINFOFUNCTION, on_progress);
    SET(CURLOPT_XFERINFODATA, h);
    SET(CURLOPT_NOPROGRESS, 0L);
    SET(CURLOPT_HTTPHEADER, headers);
    if (h->asked_from)
        SET(CURLOPT_RANGE, range);
    if (h->token) { // libcurl leaves it out when a redirect goes to another host or port
        SET(CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
        SET(CURLOPT_XOAUTH2_BEARER, h->token);
    }
    return !bad;
}

static CURLcode perform(struct pull_http *h, const char *url)
{
    struct curl_slist *headers = NULL;
    h->said[0] = '\0';
    if (h->asked_from && h->sink->etag && h->sink->etag[0]) {
        char line[PULL_ETAG_MAX + 16];
        snprintf(line, sizeof(line), "If-Range: %s", h->sink->etag);
        headers = curl_slist_append(NULL, line);
        if (!headers)
            return CURLE_OUT_OF_MEMORY;
    }
    CURLcode result = configure(h, url, headers) ? curl_easy_perform(h->easy) : CURLE_OUT_OF_MEMORY;
    curl_slist_free_all(headers);
    return result;
}

/* An answer that is an error, as a sentence that says what to do. */
static int judge_code(struct pull_http *h, long code)
{
    if (code == 404)
        return err_set(h->err, REALM_E_NOT_FOUND,
                       "the hub does not have it (404); is the name right?");
    if (code == 401 && !h->token)
        return err_set(h->err, REALM_E_ARG,
                       "the hub wants to know who asks (401): there is no such model, or it is "
                       "private or gated; for those set HF_TOKEN to an access token of yours");
    if (code == 401)
        return err_set(h->err, REALM_E_ARG,
                       "the hub does not take the token in HF_TOKEN (401), or has no such model");
    if (code == 403)
        return err_set(h->err, REALM_E_ARG,
                       "the hub does not let you have it (403): accept the model's terms on its "
                       "page, and set HF_TOKEN to a token of that account");
    if (code == 416) {
        h->no_range = true;
        return AGAIN;
    }
    err_set(h->err, REALM_E_IO, "the hub answers with HTTP status %ld", code);
    return code == 408 || code == 429 || code >= 500 ? AGAIN : REALM_E_IO;
}

static int judge_curl(struct pull_http *h, CURLcode result)
{
    const char *why = h->said[0] ? h->said : curl_easy_strerror(result);
    switch (result) {
    case CURLE_OUT_OF_MEMORY:
        return err_nomem(h->err, "a transfer");
    case CURLE_UNSUPPORTED_PROTOCOL:
        return err_set(h->err, REALM_E_IO, "the hub's answer leads to an address that is not %s",
                       "https; such a redirect is not followed");
    case CURLE_TOO_MANY_REDIRECTS:
        return err_set(h->err, REALM_E_IO, "the hub leads on over %d times", PULL_REDIRECTS_MAX);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_URL_MALFORMAT:
    case CURLE_SSL_CACERT_BADFILE:
        return err_set(h->err, REALM_E_IO, "%s", why);
    default:
        err_set(h->err, REALM_E_IO, "the connection failed: %s", why);
        return AGAIN;
    }
}

/* 0, AGAIN with a sentence, or a failure for good. */
static int attempt(struct pull_http *h, const char *url)
{
    h->begun = h->range_is_wrong = false;
    h->status = 0;
    h->refused = 0;
    h->asked_from = h->no_range ? 0 : h->sink->offset(h->sink->ctx);
    CURLcode result = perform(h, url);
    long code = answer_code(h);
    if (is_stopped(h))
        return err_set(h->err, REALM_E_CANCELLED, "stopped");
    if (h->status)
        return h->status;
    if (h->range_is_wrong) {
        h->no_range = true;
        err_set(h->err, REALM_E_IO, "the hub sends another part of the file than was asked for");
        return AGAIN;
    }
    if (code >= 400)
        return judge_code(h, code);
    if (result)
        return judge_curl(h, result);
    if (code != 200 && code != 206)
        return err_set(h->err, REALM_E_IO, "the hub answers with HTTP status %ld", code);
    if (!h->begun && begin_body(h, code))
        return h->status ? h->status : AGAIN;
    if (h->sink->whole(h->sink->ctx))
        return 0;
    err_set(h->err, REALM_E_IO, "the connection was closed before the end");
    return AGAIN;
}

/* Sleeps, unless it is too long or somebody says stop. */
static int wait_before_next(struct pull_http *h, uint32_t failures)
{
    curl_off_t asked = 0;
    curl_easy_getinfo(h->easy, CURLINFO_RETRY_AFTER, &asked);
    if (asked > PULL_WAIT_S_MAX)
        return err_set(h->err, REALM_E_IO, "the hub is busy and asks to come back in %lld s",
                       (long long)asked);
    long seconds = failures > 5 ? 30 : 1L << (failures - 1);
    if (asked > seconds)
        seconds = (long)asked;
    cmd_failf("pull", "%s; again in %ld s", h->err->message, seconds);
    for (long i = 0; i < seconds * 10 && !is_stopped(h); i++)
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    return is_stopped(h) ? err_set(h->err, REALM_E_CANCELLED, "stopped") : 0;
}

int pull_http_get(struct pull_http *h, const char *url, const struct pull_sink *sink,
                  struct realm_error *err)
{
    uint32_t failures = 0;
    uint64_t reached = sink->offset(sink->ctx);
    h->sink = sink;
    h->err = err;
    h->no_range = false;
    for (;;) {
        int status = attempt(h, url);
        if (status != AGAIN)
            return status;
        uint64_t now = sink->offset(sink->ctx);
        if (now > reached) { // it goes on, if in pieces
            failures = 0;
            reached = now;
        }
        if (++failures >= h->tries)
            return err->status < 0 ? err->status : REALM_E_IO;
        status = wait_before_next(h, failures);
        if (status)
            return status;
    }
}

const char *pull_http_next(const struct pull_http *h)
{
    return h->next;
}

int pull_http_open(struct pull_http **out, const char *token, uint32_t tries,
                   const atomic_bool *stop, struct realm_error *err)
{
    *out = NULL;
    if (curl_global_init(CURL_GLOBAL_DEFAULT))
        return err_set(err, REALM_E_SYS, "libcurl does not start");
    struct pull_http *h = mem_zalloc(sizeof(*h));
    if (!h)
        return err_nomem(err, "a transfer");
    h->tries = tries;
    h->stop = stop;
    h->easy = curl_easy_init();
    h->token = token ? mem_strdup(token) : NULL;
    if (!h->easy || (token && !h->token)) {
        pull_http_close(h);
        return err_nomem(err, "a transfer");
    }
    *out = h;
    return 0;
}

void pull_http_close(struct pull_http *h)
{
    if (!h)
        return;
    curl_easy_cleanup(h->easy);
    mem_free(h->token);
    mem_free(h);
    curl_global_cleanup();
}
