/* conf/conf.c - defaults, what needs several keys to be judged, what a reload cannot change. */
#include "conf/conf.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "conf/keys.h"

int conf_init(struct conf *c)
{
    size_t n;
    const struct conf_key *keys = conf_keys(&n);
    *c = (struct conf){0};
    for (size_t i = 0; i < n; i++) {
        const struct conf_key *k = &keys[i];
        if (k->type == CONF_LIST || k->type == CONF_ALIASES)
            continue;
        if (k->type != CONF_TEXT && k->type != CONF_CHOICE) {
            conf_set(c, k, k->number);
        } else if (k->text && !(*conf_text(c, k) = mem_strdup(k->text))) {
            conf_free(c);
            return REALM_E_NOMEM;
        }
    }
    return 0;
}

void conf_free(struct conf *c)
{
    size_t n;
    const struct conf_key *keys = conf_keys(&n);
    for (size_t i = 0; i < n; i++)
        conf_clear(c, &keys[i]);
}

/* ---- what several keys say together ---- */

static bool is_address(const char *host)
{
    struct in6_addr six;
    struct in_addr four;
    return inet_pton(AF_INET, host, &four) == 1 || inet_pton(AF_INET6, host, &six) == 1;
}

bool conf_is_loopback(const char *host)
{
    struct in6_addr six;
    struct in_addr four;
    if (inet_pton(AF_INET, host, &four) == 1)
        return ntohl(four.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, host, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

static int check_addresses(const struct conf *c, struct realm_error *err)
{
    if (!is_address(c->host))
        return err_set(err, REALM_E_ARG,
                       "listen.host: '%.60s' is no address, as 127.0.0.1 or ::1 would be", c->host);
    if (!is_address(c->metrics_host))
        return err_set(err, REALM_E_ARG, "listen.metrics_host: '%.60s' is no address",
                       c->metrics_host);
    if (c->metrics_port && c->metrics_port == c->port && strcmp(c->host, c->metrics_host) == 0)
        return err_set(err, REALM_E_ARG, "listen.metrics_port: %u is the main port too",
                       c->metrics_port);
    return 0;
}

int conf_check(const struct conf *c, struct realm_error *err)
{
    int status = check_addresses(c, err);
    if (status)
        return status;
    if (!c->tls_cert != !c->tls_key)
        return err_set(err, REALM_E_ARG, "tls.%s: is wanted beside tls.%s",
                       c->tls_cert ? "key" : "cert", c->tls_cert ? "cert" : "key");
    if (c->bytes_max && c->kv_bytes_max > c->bytes_max)
        return err_set(err, REALM_E_ARG,
                       "models.kv_bytes: %llu is more than models.memory_bytes, %llu",
                       (unsigned long long)c->kv_bytes_max, (unsigned long long)c->bytes_max);
    return 0;
}

/* ---- reloading ---- */

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_value(const struct conf *a, const struct conf *b, const struct conf_key *k)
{
    struct conf *x = (struct conf *)(uintptr_t)a, *y = (struct conf *)(uintptr_t)b;
    if (k->type == CONF_TEXT || k->type == CONF_CHOICE)
        return same_text(*conf_text(x, k), *conf_text(y, k));
    if (k->type != CONF_LIST)
        return conf_get(a, k) == conf_get(b, k);
    if (*conf_count(x, k) != *conf_count(y, k))
        return false;
    for (size_t i = 0; i < *conf_count(x, k); i++)
        if (strcmp((*conf_list(x, k))[i], (*conf_list(y, k))[i]) != 0)
            return false;
    return true;
}

int conf_restart_keys(const struct conf *now, const struct conf *next, struct buf *out)
{
    size_t n;
    const struct conf_key *keys = conf_keys(&n);
    int status = 0;
    for (size_t i = 0; !status && i < n; i++)
        if (!keys[i].live && !same_value(now, next, &keys[i]))
            status = buf_addf(out, "%s%s.%s", out->n ? ", " : "", keys[i].group, keys[i].name);
    return status;
}

/* As names end. */
static const char *unit_of(const struct conf_key *k)
{
    static const struct {
        const char *ending, *unit;
    } units[] = {{"bytes_per_s", "bytes/s"}, {"_s", "s"}};
    size_t n = strlen(k->name);
    if (k->type == CONF_BYTES)
        return "bytes";
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        size_t length = strlen(units[i].ending);
        if (n > length && strcmp(k->name + n - length, units[i].ending) == 0)
            return units[i].unit;
    }
    return "connections";
}

bool conf_limit(size_t i, struct conf_limit *out)
{
    size_t n;
    const struct conf_key *k = conf_keys(&n), *end = k + n;
    for (; k < end; k++)
        if (strcmp(k->group, "limits") == 0 && i-- == 0)
            break;
    if (k == end)
        return false;
    *out = (struct conf_limit){k->name, k->help, unit_of(k), k->number, k->min, k->max};
    return true;
}
