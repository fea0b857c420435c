/* cmd/realm/cmd_limits.c - `realm limits`: every ceiling, what it counts, and those that the
 * configuration sets.
 *
 * The lists are base/limits.inc and the configuration's table: there is no other. */
#include <string.h>

#include "base/limits.h"
#include "cmd.h"
#include "conf/conf.h"

static const struct opt_help help = {
    .usage = "limits [--json]",
    .about =
        "Prints the ceilings that Realm puts on everything that grows: those that are built in,\n"
        "and those that the configuration of `realm serve` sets, with their defaults.",
    .examples = "  realm limits\n"
                "  realm limits --json",
};

struct limit {
    const char *name; /* NULL: a part begins here */
    uint64_t value;
    const char *unit, *about; /* about: of a part, its name */
};

#define PART(name) {NULL, 0, NULL, name},
#define LIMIT(name, value, unit, about) {#name, value, unit, about},
static const struct limit limits[] = {
#include "base/limits.inc"
};
#undef PART
#undef LIMIT

/* In the unit or, of bytes, in the greatest that leaves it whole. */
static void print_value(uint64_t value, const char *unit)
{
    static const char *const larger[] = {"KiB", "MiB", "GiB"};
    for (size_t i = 0; strcmp(unit, i ? larger[i - 1] : "bytes") == 0 && i < ARRAY_LEN(larger); i++)
        if (value && value % KiB == 0) {
            value /= KiB;
            unit = larger[i];
        }
    printf("  %10llu %-11s", (unsigned long long)value, unit);
}

static void print_table(void)
{
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        const struct limit *l = &limits[i];
        if (!l->name) {
            printf("%s%s\n", i ? "\n" : "", l->about);
            continue;
        }
        print_value(l->value, l->unit);
        printf(" %-27s %s\n", l->name, l->about);
    }
    printf("\nthe configuration's defaults (realm serve --print-config shows what is in force)\n");
    struct conf_limit c;
    for (size_t i = 0; conf_limit(i, &c); i++) {
        print_value(c.value, c.unit);
        printf(" limits.%-20s %s\n", c.name, c.help);
    }
}

static void print_text(const char *name, const char *text)
{
    printf(",\"%s\":", name);
    print_json_text(text, strlen(text));
}

static void print_json(void)
{
    const char *part = "", *comma = "";
    printf("{\"limits\":[");
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        const struct limit *l = &limits[i];
        if (!l->name) {
            part = l->about;
            continue;
        }
        printf("%s{\"name\":\"%s\",\"value\":%llu", comma, l->name, (unsigned long long)l->value);
        print_text("unit", l->unit);
        print_text("part", part);
        print_text("about", l->about);
        printf("}");
        comma = ",";
    }
    printf("],\"configuration\":[");
    struct conf_limit c;
    for (size_t i = 0; conf_limit(i, &c); i++) {
        printf("%s{\"key\":\"limits.%s\",\"default\":%llu,\"min\":%llu,\"max\":%llu", i ? "," : "",
               c.name, (unsigned long long)c.value, (unsigned long long)c.min,
               (unsigned long long)c.max);
        print_text("unit", c.unit);
        print_text("about", c.help);
        printf("}");
    }
    printf("]}\n");
}

int cmd_limits(int argc, char **argv)
{
    bool json = false;
    const struct opt opts[] = {{"json", 0, NULL, "print one JSON object", NULL, &json}};
    int rest, status = opt_parse(argc, argv, opts, ARRAY_LEN(opts), &help, &rest);
    if (status >= 0)
        return status;
    if (rest)
        return cmd_usage("limits", "'%s' is no option", argv[0]);
    if (json)
        print_json();
    else
        print_table();
    return EXIT_DONE;
}
