#include "api/party.h"

#include <string.h>

#include "base/compiler.h"
#include "base/fair.h"
#include "base/limits.h"
#include "base/mem.h"

int parties_open(struct parties *p)
{
    *p = (struct parties){0};
    for (size_t i = 0; i < PARTY_BUCKETS; i++)
        list_init(&p->table[i]);
    int status =
        workers_open(&p->workers, &(struct workers_options){.name = "realm-worker",
                                                            .threads_max = API_WORKERS_MAX});
    if (status)
        return status;
    status = workers_open(&p->guest_workers,
                          &(struct workers_options){.name = "realm-guest",
                                                    .threads_max = API_GUEST_WORKERS_MAX,
                                                    .give_way = true});
    if (status)
        workers_close(p->workers);
    return status;
}

void parties_stop(struct parties *p)
{
    workers_close(p->workers); // these hand over to those
    workers_close(p->guest_workers);
    p->workers = p->guest_workers = NULL;
}

static struct party *find(struct list *bucket, const char *id)
{
    for (struct list *i = bucket->next; i != bucket; i = i->next) {
        struct party *party = CONTAINER_OF(i, struct party, in_table);
        if (strcmp(party->id, id) == 0)
            return party;
    }
    return NULL;
}

static struct party *party_new(const char *id)
{
    struct party *party = mem_zalloc(sizeof(*party));
    if (!party)
        return NULL;
    memcpy(party->id, id, strlen(id) + 1);
    if (workers_line_open(&party->line))
        goto no_line;
    if (workers_line_open(&party->guest_line))
        goto no_guest_line;
    return party;

no_guest_line:
    mem_free(party->line);
no_line:
    mem_free(party);
    return NULL;
}

int party_enter(struct parties *p, const char *id, size_t bytes, struct party **out)
{
    id = id ? id : "";
    struct list *bucket = &p->table[fair_hash(id) % PARTY_BUCKETS];
    struct party *party = find(bucket, id);
    *out = NULL;
    if (!fair_fits(party ? party->n_jobs : 0, 1, API_JOBS_MAX - p->n_jobs) ||
        !fair_fits(party ? party->bytes : 0, bytes, API_JOBS_BYTES_MAX - p->bytes))
        return REALM_E_LIMIT;
    if (!party) {
        party = party_new(id);
        if (!party)
            return REALM_E_NOMEM;
        list_add_tail(bucket, &party->in_table);
    }
    p->n_jobs++;
    p->bytes += bytes;
    party->n_jobs++;
    party->bytes += bytes;
    *out = party;
    return 0;
}

void party_leave(struct parties *p, struct party *party, size_t bytes)
{
    p->n_jobs--;
    p->bytes -= bytes;
    party->n_jobs--;
    party->bytes -= bytes;
    if (party->n_jobs)
        return;
    list_remove(&party->in_table);
    workers_line_close(p->workers, party->line);
    workers_line_close(p->guest_workers, party->guest_line);
    mem_free(party);
}
