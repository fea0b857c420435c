/* base/limits.h - ceilings on everything that grows.
 *
 * One place, so that an operator can read them and a reviewer can check that
 * nothing lacks one. */
#ifndef BASE_LIMITS_H
#define BASE_LIMITS_H

#define KiB 1024ull
#define MiB (1024ull * KiB)
#define GiB (1024ull * MiB)

enum {
    LOG_LINE_MAX = 4096,

    /* GGUF */
    GGUF_KV_MAX = 65536,
    GGUF_TENSORS_MAX = 65536,
    GGUF_STRING_MAX = 16 << 20,
    GGUF_ARRAY_MAX = 16 << 20,
    GGUF_SPLITS_MAX = 256,
    GGUF_HEADER_MAX = 512 << 20, /* keys, values and tensor records of one file */

    /* models */
    MODEL_LAYERS_MAX = 512,
    MODEL_WIDTH_MAX = 65536,
    MODEL_FFN_MAX = 262144,
    MODEL_HEADS_MAX = 512,
    MODEL_EXPERTS_MAX = 1024,
    MODEL_EXPERTS_USED_MAX = 64, /* by one token */
    MODEL_HEAD_DIM_MAX = 512,
    MODEL_CONTEXT_MAX = 1 << 22,
    MODEL_VOCAB_MAX = 1 << 21,
    MODEL_TOKEN_TYPES_MAX = 256,
    MODEL_NAME_MAX = 256,
    TOKEN_TEXT_MAX = 64 << 10,
    TOKEN_SPECIAL_MAX = 256,   /* bytes of a token that is looked for at every place of a text */
    TOKEN_NODES_MAX = 8 << 20, /* of the tree of a vocabulary's tokens */
    CHARSMAP_BYTES_MAX = 4 << 20,
    CHARSMAP_KEY_MAX = 64,    /* bytes that are replaced as one */
    CHARSMAP_GROWTH_MAX = 32, /* bytes that come of one */

    /* engine */
    POOL_THREADS_MAX = 256,
    BATCH_ROWS_MAX = 512,      /* rows of one step, but for a text that is taken whole: */
    ENCODER_TOKENS_MAX = 8192, /* of an encoder's context */
    QUEUE_REQUESTS_MAX = 2048, /* that never ran yet */
    QUEUE_MS_MAX = 60000,      /* that one waits before it begins */
    TENANTS_IDLE_MAX = 1024,   /* whose accounts are kept */
    TENANT_NAME_MAX = 64,
    STOP_MAX = 16,
    STOP_BYTES_MAX = 256,
    PROMPT_BYTES_MAX = 4 << 20,
    TOP_LOGPROBS_MAX = 1024,
    PRIORITY_MAX = 100,

    /* the helper process */
    HELPER_MEMORY_BYTES_MAX = 1 << 30,
    HELPER_RENDER_MS_MAX = 2000,
    HELPER_COMPILE_MS_MAX = 15000,
    HELPER_COMPILE_CPU_S = 10,
    HELPER_RENDER_CPU_S = 1,

    /* chat templates */
    TEMPLATE_BYTES_MAX = 256 << 10,
    MESSAGES_MAX = 2048,

    /* guests */
    GUEST_MODULE_BYTES_MAX = 4 << 20,
    GUEST_MEMORY_BYTES_MAX = 64 << 20,
    GUESTS_MEMORY_MIB_MAX = 2048, /* of all that run */
    GUEST_STACK_BYTES_MAX = 512 << 10,
    GUEST_HOST_CALLS_MAX = 10000,
    GUEST_OWN_TIME_MS_MAX = 5000,
    GUEST_REQUEST_MS_MAX = 300000,
    GUEST_OUTPUT_BYTES_MAX = 4 << 20,
    GUEST_MODELS_MAX = 8,  /* model ids of one tenant */
    GUEST_NAMES_MAX = 256, /* exports, and imports, that administration is shown */
    GUEST_LOG_LINES_MAX = 200,
    GUEST_LOG_BYTES_MAX = 64 << 10,    /* of these, of one tenant */
    GUESTS_TENANTS_MAX = 1024,         /* with a sandbox */
    GUESTS_IDLE_MAX = 256,             /* prepared programs that nobody uses */
    GUESTS_IDLE_BYTES_MAX = 256 << 20, /* of their code */

    /* configuration */
    CONF_FILE_BYTES_MAX = 256 << 10,
    CONF_TEXT_MAX = 4096, /* bytes of one value */
    CONF_LIST_MAX = 256,

    /* HTTP */
    HTTP_LINE_MAX = 8 << 10,  /* request line, and one header field */
    HTTP_HEAD_MAX = 32 << 10, /* all of them */
    HTTP_FIELDS_MAX = 64,
    HTTP_BODY_MAX = 4 << 20,
    HTTP_BODIES_BYTES_MAX = 256 << 20, /* of all requests that are open */
    HTTP_CONNECTIONS_MAX = 4096,
    HTTP_CONNECTIONS_PER_IP_MAX = 64,
    HTTP_HEAD_MS_MAX = 10000,
    HTTP_IDLE_MS_MAX = 60000,
    HTTP_STALL_MS_MAX = 30000,
    HTTP_BODY_BYTES_PER_S_MIN = 1024,
    HTTP_KEEP_ALIVE_MS = 15000,
    HTTP_UNSENT_BYTES_MAX = 64 << 20,
    HTTP_AHEAD_BYTES_MAX = 64 << 10, /* requests that come before the last one is answered */
    WS_MESSAGE_MAX = 1 << 20,
    WS_KEY_MESSAGE_MAX = 4 << 10, /* of one whose key has not come yet */
    WS_FRAGMENTS_MAX = 1024,
    WS_PINGS_PER_S_MAX = 16,
    WS_PING_MS = 30000, /* of silence, until a client is asked; as long again, until it is gone */

    /* API */
    API_JOBS_MAX = 8192,
    API_JOBS_BYTES_MAX = 256 << 20, /* of their bodies and messages */
    JOB_ENDING_MS_MAX = 500,        /* that a client waits to be told of a failure, for its row */
    JSON_DEPTH_MAX = 64,
    JSON_VALUES_MAX = 200000,
    CHOICES_MAX = 16,             /* n times prompts of one request */
    TOKEN_PIECES_MAX = 256 << 10, /* tokens that /tokenize shows with their text */
    EMBEDDING_INPUTS_MAX = 2048,
    LOGIT_BIAS_MAX = 1024,
    WS_CALLS_MAX = 64,            /* open on one connection */
    API_WORKERS_MAX = 256,        /* threads that load, render and tokenise */
    API_GUEST_WORKERS_MAX = 1024, /* threads that run guests */

    AUTH_MISSES_PER_MIN_MAX = 20, /* wrong keys of one address, but of this machine */
    AUTH_WAIT_MS_MAX = 10000,     /* for the key of a WebSocket */

    /* tenants */
    TENANTS_MAX = 10000,
    TENANT_KEYS_MAX = 64,    /* of one tenant */
    TENANT_MODELS_MAX = 256, /* names it may use */
    TENANT_TEXT_MAX = 256,   /* bytes of a key's name */
    TENANT_DEFAULTS_BYTES_MAX = 16 << 10,
    TENANT_GUESTS_MAX = 64,        /* models with a program of their own */
    TENANT_GUEST_VERSIONS_MAX = 8, /* kept of each program */
    TENANT_ABOUT_BYTES_MAX = 256 << 10,
    USAGE_ROWS_MAX = 100000, /* of one report */
    LEDGER_WAITING_MAX = 65536,
    LEDGER_GROUP_ROWS_MAX = 64,
    LEDGER_GROUP_MS_MAX = 3,
    LEDGER_NOTE_MS_MAX = 250,
    LEDGER_SPOOL_ROWS_MAX = 8192,
    LEDGER_FOLD_ROWS_MAX = 128, /* that one transaction folds */

    /* realm pull */
    PULL_PAGE_BYTES_MAX = 8 << 20, /* of a hub's listing */
    PULL_PAGES_MAX = 64,
    PULL_FILES_MAX = 4096, /* GGUF files of one repository */
    PULL_NAME_MAX = 200,
    PULL_REDIRECTS_MAX = 10,
    PULL_WAIT_S_MAX = 120, /* that a busy hub may ask for */
};

#endif
