/* cmd/realm/pull_url.c - addresses: a hub's, one that a page leads to, names within one. */
#include <curl/curl.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "pull.h"

/* scheme, host and port; each is to be given to curl_free. */
struct origin {
    char *scheme, *host, *port;
};

static void origin_free(struct origin *o)
{
    curl_free(o->scheme);
    curl_free(o->host);
    curl_free(o->port);
}

static bool origin_get(CURLU *url, struct origin *out)
{
    *out = (struct origin){0};
    return !curl_url_get(url, CURLUPART_SCHEME, &out->scheme, 0) &&
           !curl_url_get(url, CURLUPART_HOST, &out->host, 0) &&
           !curl_url_get(url, CURLUPART_PORT, &out->port, CURLU_DEFAULT_PORT);
}

static bool origin_same(const struct origin *a, const struct origin *b)
{
    return strcasecmp(a->scheme, b->scheme) == 0 && strcasecmp(a->host, b->host) == 0 &&
           strcmp(a->port, b->port) == 0;
}

static bool has_part(CURLU *url, CURLUPart part)
{
    char *text = NULL;
    bool has = !curl_url_get(url, part, &text, 0) && text;
    curl_free(text);
    return has;
}

int pull_hub_check(const char *hub, struct realm_error *err)
{
    CURLU *url = curl_url();
    struct origin o = {0};
    if (!url)
        return err_nomem(err, "an address");
    bool good = !curl_url_set(url, CURLUPART_URL, hub, 0) && origin_get(url, &o) &&
                (strcasecmp(o.scheme, "http") == 0 || strcasecmp(o.scheme, "https") == 0);
    /* A name or password there would go into messages. */
    bool plain = !has_part(url, CURLUPART_USER) && !has_part(url, CURLUPART_PASSWORD) &&
                 !has_part(url, CURLUPART_QUERY) && !has_part(url, CURLUPART_FRAGMENT);
    origin_free(&o);
    curl_url_cleanup(url);
    if (!good)
        return err_set(err, REALM_E_ARG, "the hub's address must be like https://huggingface.co");
    if (!plain)
        return err_set(err, REALM_E_ARG,
                       "the hub's address has a user, a query or a fragment; a token belongs "
                       "into HF_TOKEN");
    return 0;
}

int pull_url_follow(const char *base, const char *link, struct buf *out, struct realm_error *err)
{
    CURLU *url = curl_url();
    struct origin from = {0}, to = {0};
    char *text = NULL;
    int status = url ? 0 : err_nomem(err, "an address");
    if (!status && (curl_url_set(url, CURLUPART_URL, base, 0) || !origin_get(url, &from) ||
                    curl_url_set(url, CURLUPART_URL, link, 0) || !origin_get(url, &to) ||
                    curl_url_get(url, CURLUPART_URL, &text, 0)))
        status = err_set(err, REALM_E_FORMAT, "the hub's listing goes on at no address");
    if (!status && !origin_same(&from, &to))
        status = err_set(err, REALM_E_FORMAT, "the hub's listing goes on at another host");
    if (!status && buf_addf(out, "%s", text))
        status = err_nomem(err, "an address");
    curl_free(text);
    origin_free(&from);
    origin_free(&to);
    curl_url_cleanup(url);
    return status;
}

int pull_url_escape(struct buf *out, const char *text, bool keep_slashes)
{
    int status = 0;
    for (; *text && !status; text++) {
        unsigned char c = (unsigned char)*text;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     strchr("-._~", c) || (c == '/' && keep_slashes);
        status = plain ? buf_addch(out, (char)c) : buf_addf(out, "%%%02X", c);
    }
    return status;
}
