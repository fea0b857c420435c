/* cmd/realm/admin_args.c - sizes, durations and days on the command line. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admin.h"
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

static bool read_duration(const char *text, uint64_t *seconds)
{
    static const struct unit units[] = {{"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
    enum { YEARS_MAX = 100 };
    return read_number(text, units, ARRAY_LEN(units), seconds) &&
           *seconds <= YEARS_MAX * 366ull * 86400;
}

bool admin_is_duration(const char *text)
{
    uint64_t seconds;
    return read_duration(text, &seconds);
}

int admin_duration(const char *cmd, const char *name, const char *text, int64_t *seconds)
{
    uint64_t value;
    if (!read_duration(text, &value))
        return cmd_usage(cmd, "%s must be a time as 30d, 12h or 10m, not '%s'", name, text);
    *seconds = (int64_t)value;
    return -1;
}

int admin_end(const char *cmd, const char *name, const char *text, int64_t *seconds)
{
    struct tm day = {0};
    uint64_t value;
    if (read_duration(text, &value)) {
        *seconds = (int64_t)time(NULL) + (int64_t)value;
        return -1;
    }
    const char *end = strptime(text, "%Y-%m-%d", &day);
    if (!end || *end)
        return cmd_usage(cmd,
                         "%s must be a time from now as 30d or 12h, or a day as 2027-01-31, "
                         "not '%s'",
                         name, text);
    *seconds = (int64_t)timegm(&day);
    return -1;
}
