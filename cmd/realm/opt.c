#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "cmd.h"

enum { OPTS_MAX = 40, HELP_COLUMN = 28 };

static void print_option(const struct opt *o)
{
    char left[HELP_COLUMN * 2];
    int n = snprintf(left, sizeof(left), "  %c%c%s --%s%s%s", o->letter ? '-' : ' ',
                     o->letter ? o->letter : ' ', o->letter ? "," : " ", o->name, o->arg ? " " : "",
                     o->arg ? o->arg : "");
    if (n < HELP_COLUMN)
        printf("%-*s%s\n", HELP_COLUMN, left, o->help);
    else
        printf("%s\n%*s%s\n", left, HELP_COLUMN, "", o->help);
}

static void print_help(const struct opt *opts, size_t n, const struct opt_help *help)
{
    printf("usage: realm %s\n\n%s\n\noptions:\n", help->usage, help->about);
    for (size_t i = 0; i < n; i++)
        print_option(&opts[i]);
    printf("  -h, --help                show this\n");
    if (help->examples)
        printf("\nexamples:\n%s\n", help->examples);
}

/* getopt's two tables; val of long option i is 256 + i. */
static void build_tables(const struct opt *opts, size_t n, char *letters, struct option *longs)
{
    size_t at = 0;
    letters[at++] = ':';
    for (size_t i = 0; i < n; i++) {
        longs[i] = (struct option){opts[i].name, opts[i].arg ? required_argument : no_argument,
                                   NULL, 256 + (int)i};
        if (!opts[i].letter)
            continue;
        letters[at++] = opts[i].letter;
        if (opts[i].arg)
            letters[at++] = ':';
    }
    letters[at++] = 'h';
    letters[at] = '\0';
    longs[n] = (struct option){"help", no_argument, NULL, 'h'};
    longs[n + 1] = (struct option){0};
}

static const struct opt *find(const struct opt *opts, size_t n, int c)
{
    if (c >= 256)
        return &opts[c - 256];
    for (size_t i = 0; i < n; i++)
        if (opts[i].letter == c)
            return &opts[i];
    return NULL;
}

struct opt_shown opt_show(char letter, const char *name)
{
    struct opt_shown shown;
    const char short_one[] = {'-', letter, '/', '\0'};
    snprintf(shown.text, sizeof(shown.text), "%s--%s", letter ? short_one : "", name);
    return shown;
}

static bool names_path(const struct opt *o)
{
    return strncmp(o->arg, "FILE", 4) == 0 || strcmp(o->arg, "DIR") == 0;
}

static int wrong_option(const char *cmd, int c, char **argv)
{
    const char *given = argv[optind - 1];
    if (c == ':')
        return cmd_usage(cmd, "option '%s' wants a value", given);
    return cmd_usage(cmd, "there is no option '%s'; `realm %s --help` lists them", given, cmd);
}

int opt_parse(int argc, char **argv, const struct opt *opts, size_t n, const struct opt_help *help,
              int *n_rest)
{
    char letters[2 * OPTS_MAX + 3];
    struct option longs[OPTS_MAX + 2];
    ASSERT(n <= OPTS_MAX);
    build_tables(opts, n, letters, longs);
    opterr = 0;
    optind = 1;
    int c;
    while ((c = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
        if (c == 'h') {
            print_help(opts, n, help);
            return EXIT_DONE;
        }
        const struct opt *o = c == '?' || c == ':' ? NULL : find(opts, n, c);
        if (!o)
            return wrong_option(argv[0], c, argv);
        if (o->arg && !*optarg && names_path(o))
            return cmd_usage(argv[0], "%s wants a %s, and its value is empty",
                             opt_show(o->letter, o->name).text, o->arg);
        if (o->arg)
            *o->text = optarg;
        else
            *o->flag = true;
    }
    *n_rest = argc - optind;
    for (int i = 0; i < *n_rest; i++)
        argv[i] = argv[optind + i];
    return -1;
}

int opt_u64(const char *cmd, const char *name, const char *text, uint64_t min, uint64_t max,
            uint64_t *out)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || *end || end == text || strchr(text, '-') || value < min || value > max)
        return cmd_usage(cmd, "%s must be a whole number from %llu to %llu, not '%s'", name,
                         (unsigned long long)min, (unsigned long long)max, text);
    *out = value;
    return -1;
}

double opt_number(const char *text)
{
    char *end;
    double value = strtod(text, &end);
    return *end || end == text ? (double)NAN : value;
}
