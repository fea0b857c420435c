/* conf/keys.c - the table: everything that the file may say. */
#include "conf/keys.h"

#include <stddef.h>

#include "base/limits.h"

#define AT(field) offsetof(struct conf, field)
#define TEXT(group, name, field, default_text, live, help)                                 \
    {                                                                                      \
        group, name, CONF_TEXT, AT(field), 0, 0, 0, 1, 0, default_text, {NULL}, live, help \
    }
#define LIST(group, name, field, live, help)                                                   \
    {                                                                                          \
        group, name, CONF_LIST, AT(field), AT(n_##field), 0, 0, 1, 0, NULL, {NULL}, live, help \
    }
#define FLAG(group, name, field, live, help)                                       \
    {                                                                              \
        group, name, CONF_FLAG, AT(field), 0, 0, 1, 1, 0, NULL, {NULL}, live, help \
    }
#define NUMBER(group, name, type, field, min, max, scale, number, live, help)              \
    {                                                                                      \
        group, name, type, AT(field), 0, min, max, scale, number, NULL, {NULL}, live, help \
    }

/* Bytes of a budget: beyond any machine. */
#define BUDGET_MAX (1ull << 50)

static const struct conf_key keys[] = {
    TEXT("listen", "host", host, "127.0.0.1", false,
         "The address to listen at.  One that other machines can reach is refused while there are "
         "no "
         "keys (realm keys create), unless insecure_public is true."),
    NUMBER("listen", "port", CONF_U16, port, 0, 65535, 1, 8080, false,
           "The port of HTTP and WebSocket; 0 picks a free one, which the first line on standard "
           "output names."),
    FLAG("listen", "insecure_public", insecure_public, false,
         "Allows an address that others can reach although there are no keys: anybody who reaches "
         "the port may use the models.  For a container behind a gateway."),
    LIST("listen", "allowed_hosts", allowed_hosts, false,
         "Host names, beside localhost, by which requests to a loopback address may call this "
         "server: a web page cannot reach it under another name."),
    TEXT("listen", "metrics_host", metrics_host, "127.0.0.1", false,
         "The address of metrics_port; /metrics names models and counts, never prompts."),
    FLAG("listen", "metrics_public", metrics_public, false,
         "Lets whoever reaches /metrics on metrics_port, or from this machine, read it without a "
         "key although there are keys.  It names tenants and tells how much they use.  Without it "
         "a reader shows REALM_METRICS_KEY as its bearer key."),
    NUMBER("listen", "metrics_port", CONF_U32, metrics_port, 0, 65535, 1, 0, false,
           "A port for /metrics, /health and /ready alone; 0: they are on the main port, /metrics "
           "for callers of this machine."),
    TEXT("tls", "cert", tls_cert, NULL, true,
         "File of the certificate chain (PEM).  With it and key the main port speaks HTTPS; a "
         "reload reads both again."),
    TEXT("tls", "key", tls_key, NULL, true, "File of the certificate's private key (PEM)."),
    TEXT("models", "dir", models_dir, NULL, true,
         "A folder: every *.gguf in it is a model, named by its file without .gguf, and loaded "
         "when first asked for."),
    TEXT("models", "default", model, NULL, true,
         "The model of requests that name none: a name, or a GGUF file (whatever ends in .gguf or "
         "has a slash).  Without it and dir: the small model that comes along."),
    {"models",
     "aliases",
     CONF_ALIASES,
     AT(aliases),
     AT(n_aliases),
     0,
     0,
     1,
     0,
     NULL,
     {NULL},
     true,
     "Further names for clients to use, each with the name of a model or a GGUF file."},
    LIST("models", "preload", preload, true, "Models that are loaded at the start."),
    LIST("models", "pin", pin, true,
         "Models that are loaded at the start and never unloaded to make room."),
    LIST("models", "shared_prompts", shared_prompts, true,
         "System messages that are no secret of any tenant: what was computed for one is used for "
         "all who begin with the same words.  Everything else in the cache is its tenant's alone."),
    NUMBER("models", "memory_bytes", CONF_BYTES, bytes_max, 0, BUDGET_MAX, 1, 0, false,
           "What weights, keys and values may take together; 0: 70 % of the machine's memory."),
    NUMBER("models", "kv_bytes", CONF_BYTES, kv_bytes_max, 0, BUDGET_MAX, 1, 0, false,
           "Of these, what keys and values of conversations may take; 0: a quarter."),
    {"models",
     "kv_type",
     CONF_ENUM,
     AT(kv_type),
     0,
     0,
     0,
     1,
     REALM_KV_F16,
     NULL,
     {[REALM_KV_F16] = "f16",
      [REALM_KV_F32] = "f32",
      [REALM_KV_BF16] = "bf16",
      [REALM_KV_Q8_0] = "q8_0"},
     false,
     "The type in which keys and values are kept: f32 is exact, f16 nearly so; bf16 is for "
     "processors that multiply it; q8_0 takes half the room of either."},
    NUMBER("models", "idle_unload_s", CONF_U32, keep_alive_s, 0, 1000000, 1, 0, false,
           "Seconds after which a model that nobody asked for is unloaded; 0: only when room is "
           "needed."),
    NUMBER("models", "threads", CONF_U32, threads, 0, POOL_THREADS_MAX, 1, 0, false,
           "Threads that compute; 0: one for each processor, or for each whole one whose time the "
           "process's control groups give."),
    NUMBER("models", "step_ms", CONF_U32, step_ms, 1, 10000, 1, 50, false,
           "Milliseconds that one step of the engine should take: short ones answer many callers "
           "evenly, long ones read long prompts sooner."),
    NUMBER("models", "load_wait_s", CONF_U32, load_wait_ms, 1, 3600, 1000, 30, false,
           "Seconds that a request for a model waits for room before it is refused."),
    TEXT("guest", "file", guest, NULL, false,
         "A WebAssembly guest that answers chats and completions in the model's place."),
    FLAG("api", "compat_llama_server", compat_llama_server, true,
         "Behaves as llama-server where the two differ: the model's name in requests is ignored."),
    NUMBER("api", "request_s", CONF_U32, request_s, 1, 86400, 1, 3600, true,
           "Seconds after which a request is ended, its waits included."),
    NUMBER("api", "drain_s", CONF_U32, drain_s, 0, 3600, 1, 30, true,
           "Seconds that running requests have to finish after SIGTERM."),
    NUMBER("limits", "connections", CONF_U32, http.connections_max, 1, 1000000, 1,
           HTTP_CONNECTIONS_MAX, false, "Connections at a time."),
    NUMBER("limits", "connections_per_ip", CONF_U32, http.connections_per_ip_max, 1, 1000000, 1,
           HTTP_CONNECTIONS_PER_IP_MAX, false,
           "Connections at a time from one address; this machine's own may have them all."),
    NUMBER("limits", "body_bytes", CONF_BYTES, http.body_bytes_max, 1 * KiB, 64 * MiB, 1,
           HTTP_BODY_MAX, false, "The largest body of a request."),
    NUMBER("limits", "head_s", CONF_U32, http.head_ms, 1, 3600, 1000, HTTP_HEAD_MS_MAX / 1000,
           false, "Seconds from a request's first byte to the end of its head."),
    NUMBER("limits", "idle_s", CONF_U32, http.idle_ms, 1, 86400, 1000, HTTP_IDLE_MS_MAX / 1000,
           false, "Seconds that a connection may be open without a request."),
    NUMBER("limits", "stall_s", CONF_U32, http.stall_ms, 1, 3600, 1000, HTTP_STALL_MS_MAX / 1000,
           false, "Seconds that a client may take nothing of its answer before it is given up."),
    NUMBER("limits", "body_bytes_per_s", CONF_U32, http.body_bytes_per_s, 1, 1000000000, 1,
           HTTP_BODY_BYTES_PER_S_MIN, false, "A body that comes more slowly is given up."),
    NUMBER(
        "limits", "keep_alive_s", CONF_U32, http.keep_alive_ms, 1, 3600, 1000,
        HTTP_KEEP_ALIVE_MS / 1000, false,
        "Seconds without an event after which a stream gets a comment, for proxies that close what "
        "is silent; one that waits for its first token, too, once the engine has it."),
    NUMBER("limits", "unsent_bytes", CONF_BYTES, http.unsent_bytes_max, 64 * KiB, 64 * GiB, 1,
           HTTP_UNSENT_BYTES_MAX, false,
           "What is kept of a stream for a client that does not read it."),
    NUMBER(
        "tenants", "keep_days", CONF_U32, keep_days, 0, 100000, 1, 400, true,
        "Days for which each request has a row of its own in the ledger; older ones are added up "
        "by tenant, key, model, program and day, which leaves reports of usage as they are.  0: "
        "for ever."),
    {"log",
     "level",
     CONF_CHOICE,
     AT(log_level),
     0,
     0,
     0,
     1,
     0,
     "info",
     {"error", "warn", "info", "debug"},
     true,
     "What is logged on standard error; info has a line for each request.  REALM_LOG in the "
     "environment goes before it."},
    {"log",
     "format",
     CONF_CHOICE,
     AT(log_format),
     0,
     0,
     0,
     1,
     0,
     "text",
     {"text", "json"},
     true,
     "Plain lines, or a JSON object on each."},
    TEXT("state", "dir", state_dir, NULL, false,
         "The folder of what the server keeps (tenants, keys, usage, programs, the socket for "
         "administration), for its user alone and one server at a time.  Without it: "
         "$XDG_STATE_HOME/realm, else ~/.local/state/realm."),
};

_Static_assert(ARRAY_LEN(keys) <= CONF_KEYS_MAX, "conf/parse.c remembers which it has seen");

const struct conf_key *conf_keys(size_t *n)
{
    *n = ARRAY_LEN(keys);
    return keys;
}
