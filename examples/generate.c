/* generate.c - continues a text with a model, token by token.
 *
 *     cc generate.c $(pkg-config --cflags --libs realm) -o generate
 *     ./generate tiny-q8_0.gguf "Once upon a time" */
#include <stdio.h>
#include <string.h>

#include <realm/realm.h>

/* Writes the answer as it comes; 0 when it came to its end. */
static int print_answer(struct realm_gen *gen)
{
    struct realm_event event;
    do {
        if (realm_gen_next(gen, &event, NULL))
            return 1;
        fwrite(event.text, 1, event.text_bytes, stdout);
        fflush(stdout);
    } while (event.kind == REALM_EVENT_TOKEN);
    printf("\n");
    fprintf(stderr, "%u tokens, seed %llu: %s\n", event.usage.completion_tokens,
            (unsigned long long)realm_gen_seed(gen), realm_status_name(event.status));
    return event.status ? 1 : 0;
}

static int generate(struct realm_model *model, const char *prompt, struct realm_error *err)
{
    struct realm_request request;
    struct realm_gen *gen;

    realm_request_init(&request, REALM_DOOR_CLI);
    request.text = prompt;
    request.text_bytes = strlen(prompt);
    request.text_flags = REALM_TEXT_BOS;
    request.sampling.max_tokens = 64;
    if (realm_gen_start(&gen, model, &request, err))
        return 1;
    int failed = print_answer(gen);
    realm_gen_close(gen);
    return failed;
}

int main(int argc, char **argv)
{
    struct realm *engine = NULL;
    struct realm_model *model = NULL;
    struct realm_error err = {0};

    if (argc != 3) {
        fprintf(stderr, "usage: generate MODEL.gguf PROMPT\n");
        return 2;
    }
    int failed = realm_open(&engine, NULL, &err) ||
                 realm_model_open(&model, engine, argv[1], NULL, &err) ||
                 generate(model, argv[2], &err);
    if (failed && err.status)
        fprintf(stderr, "generate: %s\n", err.message);
    realm_model_close(model);
    realm_close(engine);
    return failed;
}
