/* cmd/realm/admin_client.c - calls to a running server, over its socket or its address. */
#include "admin.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "pull.h"
#include "serve.h"

enum {
    ANSWER_BYTES_MAX = 256 << 20,
    PATH_BYTES_MAX = 16 << 10,
    CONNECT_S = 10,
};

struct admin {
    const char *cmd;
    CURL *easy;
    char *socket; /* NULL: url is where it is */
    char *url;    /* without a slash at its end */
    const char *key;
    char said[CURL_ERROR_SIZE];
    struct buf answer;
};

/* ---- paths ---- */

int admin_add_query(struct buf *path, const char *name, const char *value)
{
    if (!value)
        return 0;
    bool first = !memchr(path->p, '?', path->n);
    int status = buf_addf(path, "%c%s=", first ? '?' : '&', name);
    return status ? status : pull_url_escape(path, value, false);
}

/* ---- opening ---- */

static int no_memory(const char *cmd)
{
    return cmd_failf(cmd, "out of memory");
}

static int use_url(struct admin *a, const char *url)
{
    size_t n = strlen(url);
    while (n && url[n - 1] == '/')
        n--;
    if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
        return cmd_usage(a->cmd, "--url wants an address as http://127.0.0.1:8080, not '%s'", url);
    a->key = getenv("REALM_ADMIN_KEY");
    if (!a->key || !a->key[0])
        return cmd_usage(a->cmd, "with --url, set REALM_ADMIN_KEY to the key that the server was "
                                 "started with");
    a->url = mem_strndup(url, n);
    return a->url ? -1 : no_memory(a->cmd);
}

static int use_socket(struct admin *a, const char *state)
{
    struct realm_error err;
    if (serve_state_socket(&a->socket, state, &err))
        return cmd_fail(a->cmd, &err);
    a->url = mem_strdup("http://localhost");
    return a->url ? -1 : no_memory(a->cmd);
}

int admin_open(struct admin **out, const char *cmd, const struct admin_target *at)
{
    *out = NULL;
    if (at->url && at->state)
        return cmd_usage(cmd, "name the server by --state or by --url, not by both");
    if (curl_global_init(CURL_GLOBAL_DEFAULT))
        return cmd_failf(cmd, "libcurl does not start");
    struct admin *a = mem_zalloc(sizeof(*a));
    if (!a)
        return no_memory(cmd);
    a->cmd = cmd;
    buf_init(&a->answer, ANSWER_BYTES_MAX);
    a->easy = curl_easy_init();
    int status = a->easy ? -1 : no_memory(cmd);
    if (status < 0)
        status = at->url ? use_url(a, at->url) : use_socket(a, at->state);
    if (status < 0)
        *out = a;
    else
        admin_close(a);
    return status;
}

void admin_close(struct admin *a)
{
    if (!a)
        return;
    curl_easy_cleanup(a->easy);
    buf_free(&a->answer);
    mem_free(a->socket);
    mem_free(a->url);
    mem_free(a);
    curl_global_cleanup();
}

/* ---- one call ---- */

static size_t on_data(char *p, size_t one, size_t n, void *ctx)
{
    struct admin *a = ctx;
    (void)one;
    return buf_add(&a->answer, p, n) ? 0 : n;
}

#define SET(option, value) (bad |= curl_easy_setopt(a->easy, option, value) != CURLE_OK)

static bool configure(struct admin *a, const char *url, const char *method, struct slice body,
                      struct curl_slist *headers)
{
    bool bad = false;
    curl_easy_reset(a->easy); // keeps the connection
    SET(CURLOPT_URL, url);
    SET(CURLOPT_CUSTOMREQUEST, method);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_NOPROXY, "*"); // the server is no further than this machine
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_ERRORBUFFER, a->said);
    SET(CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
    SET(CURLOPT_WRITEFUNCTION, on_data);
    SET(CURLOPT_WRITEDATA, a);
    SET(CURLOPT_HTTPHEADER, headers);
    if (a->socket)
        SET(CURLOPT_UNIX_SOCKET_PATH, a->socket);
    if (a->key) {
        SET(CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
        SET(CURLOPT_XOAUTH2_BEARER, a->key);
    }
    if (body.p) {
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
        SET(CURLOPT_POSTFIELDS, (const char *)body.p);
    }
    return !bad;
}

/* Nobody answers: a sentence that says what to do. */
static int not_reached(const struct admin *a, CURLcode result)
{
    long number = 0;
    curl_easy_getinfo(a->easy, CURLINFO_OS_ERRNO, &number);
    const char *why = a->said[0] ? a->said : curl_easy_strerror(result);
    if (result == CURLE_OUT_OF_MEMORY)
        return no_memory(a->cmd);
    if (result != CURLE_COULDNT_CONNECT)
        return cmd_failf(a->cmd, "the call failed: %s", why);
    if (a->socket && number == EACCES)
        return cmd_failf(a->cmd, "%s belongs to another user, who alone may administer that server",
                         a->socket);
    if (a->socket)
        return cmd_failf(a->cmd,
                         "no server answers at %s; is `realm serve` running?  Where it has "
                         "another state directory, name that with --state",
                         a->socket);
    return cmd_failf(a->cmd, "no server answers at %s: %s", a->url, why);
}

/* An answer that is an error: the server's own sentence. */
static int refused(const struct admin *a, long code, const json_t *answer)
{
    const json_t *error = json_object_get(answer, "error");
    const char *message = json_string_value(json_object_get(error, "message"));
    static const char nothing[] = "there is nothing at this path";
    if (code == 404 && message && strncmp(message, nothing, strlen(nothing)) == 0)
        return cmd_failf(a->cmd,
                         "the server at %s does not let you in: it must have been started with "
                         "this REALM_ADMIN_KEY, and takes it from its own machine alone",
                         a->url);
    if (!message)
        return cmd_failf(a->cmd, "the server answers with HTTP status %ld", code);
    fprintf(stderr, "realm %s: ", a->cmd);
    admin_print(stderr, message);
    fputc('\n', stderr);
    return EXIT_FAILED;
}

static int judge(struct admin *a, CURLcode result, json_t **out)
{
    long code = 0;
    if (result)
        return not_reached(a, result);
    curl_easy_getinfo(a->easy, CURLINFO_RESPONSE_CODE, &code);
    json_t *answer = json_loadb((const char *)a->answer.p, a->answer.n, 0, NULL);
    if (answer && code >= 200 && code < 300) {
        *out = answer;
        return -1;
    }
    int status = code >= 200 && code < 300
                     ? cmd_failf(a->cmd, "the answer is no JSON; is it a realm server?")
                     : refused(a, code, answer);
    json_decref(answer);
    return status;
}

static int transfer(struct admin *a, const char *method, const char *path, struct slice body,
                    const char *type, json_t **out)
{
    struct buf url;
    struct curl_slist *headers = curl_slist_append(NULL, type);
    buf_init(&url, PATH_BYTES_MAX);
    buf_clear(&a->answer);
    a->said[0] = '\0';
    bool bad = !headers || buf_addf(&url, "%s%s", a->url, path) || !buf_cstr(&url);
    bad = bad || !configure(a, (const char *)url.p, method, body, headers);
    int status = bad ? no_memory(a->cmd) : judge(a, curl_easy_perform(a->easy), out);
    curl_slist_free_all(headers);
    buf_free(&url);
    return status;
}

int admin_send(struct admin *a, const char *method, const char *path, struct slice body,
               json_t **out)
{
    return transfer(a, method, path, body, "Content-Type: application/wasm", out);
}

int admin_call(struct admin *a, const char *method, const char *path, const json_t *body,
               json_t **out)
{
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    if (body && !text)
        return no_memory(a->cmd);
    struct slice bytes = text ? slice_of(text) : (struct slice){NULL, 0};
    int status = transfer(a, method, path, bytes, "Content-Type: application/json", out);
    free(text);
    return status;
}

int admin_call_id(struct admin *a, const char *method, const char *before, const char *id,
                  const char *after, const json_t *body, json_t **out)
{
    struct buf path;
    buf_init(&path, PATH_BYTES_MAX);
    int status = buf_addf(&path, "%s", before);
    if (!status)
        status = pull_url_escape(&path, id, false);
    if (!status)
        status = buf_addf(&path, "%s", after);
    status = status || !buf_cstr(&path) ? cmd_failf(a->cmd, "the name is too long")
                                        : admin_call(a, method, (const char *)path.p, body, out);
    buf_free(&path);
    return status;
}
