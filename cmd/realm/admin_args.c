/* cmd/realm/admin_args.c - sizes, durations and days on the command line. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admin.h"
#include "api/query.h"
#include "base/ckd.h"
#include "base/limits.h"

struct unit {
    const char *name;
    uint64_t factor;
};

/* A whole number and one of the units. */
static bool read_number(const char *text, const struct unit *units, size_t n, uint64_t *out)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || text[0] < '0' || text[0] > '9')
        return false;
    for (size_t i = 0; i < n; i++)
        if (strcmp(end, units[i].name) == 0)
            return ckd_mul_u64(value, units[i].factor, out);
    return false;
}

int admin_bytes(const char *cmd, const char *name, const char *text, uint64_t *bytes)
{
    static const struct unit units[] = {{"", 1}, {"KiB", KiB}, {"MiB", MiB}, {"GiB", GiB}};
    if (read_number(text, units, ARRAY_LEN(units), bytes) && *bytes <= INT64_MAX)
        return -1;
    return cmd_usage(cmd, "%s must be a size as 1GiB or 512MiB, not '%s'", name, text);
}

bool admin_read_duration(const char *text, int64_t *seconds)
{
    static const struct unit units[] = {{"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
    enum { YEARS_MAX = 100 };
    uint64_t value;
    if (!read_number(text, units, ARRAY_LEN(units), &value) || value > YEARS_MAX * 366ull * 86400)
        return false;
    *seconds = (int64_t)value;
    return true;
}

int admin_duration(const char *cmd, const char *name, const char *text, int64_t *seconds)
{
    if (admin_read_duration(text, seconds))
        return -1;
    return cmd_usage(cmd, "%s must be a time as 30d, 12h or 10m, not '%s'", name, text);
}

int admin_end(const char *cmd, const char *name, const char *text, int64_t *seconds)
{
    int64_t now = (int64_t)time(NULL);
    if (admin_read_duration(text, seconds)) {
        *seconds += now;
        return -1;
    }
    /* A number alone is a duration whose unit was forgotten. */
    if (strchr(text, '-') && query_time(text, seconds) == 0)
        return *seconds > now ? -1
                              : cmd_usage(cmd, "%s must lie ahead, and %s is past", name, text);
    return cmd_usage(cmd,
                     "%s must be a time from now as 30d or 12h, or a day as 2027-01-31, not '%s'",
                     name, text);
}

/* ---- bodies ---- */

int admin_set(const char *cmd, json_t *body, const char *name, json_t *value)
{
    return json_object_set_new(body, name, value) ? cmd_failf(cmd, "out of memory") : -1;
}
