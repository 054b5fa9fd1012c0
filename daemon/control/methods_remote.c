/* Methods about hops: a login is a stream of steps and prompts, and ends with the last of
 * them who could be asked. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control/control_private.h"

/* One call that waits for a hop. */
struct login {
    struct hop_visitor visitor; /* first: the same address */
    struct hop *hop;
    struct varlink_call *call;
    bool out; /* a logout: whatever ends it is its success */
};

static struct hop *call_hop(
    struct control *control, struct varlink_call *call, const cJSON *parameters)
{
    const char *cluster = call_string(parameters, "cluster");
    struct hop *hop = remote_find(control->remote, cluster ? cluster : "");
    if (!hop) {
        cJSON *object = cJSON_CreateObject();
        const char *closest = remote_closest(control->remote, cluster ? cluster : "");
        cJSON_AddStringToObject(object, "name", cluster ? cluster : "");
        if (closest) {
            cJSON_AddStringToObject(object, "hint", closest);
        }
        varlink_call_error(call, "org.gears.Manager.NoSuchCluster", object);
    }
    return hop;
}

static cJSON *tunnel_object(struct hop *hop)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddItemToObject(object, "tunnel", view_tunnel(hop));
    return object;
}

static void on_close(struct varlink_call *call, void *context)
{
    (void)call;
    struct login *login = context;
    hop_leave(login->hop, &login->visitor);
    free(login);
}

static void on_step(struct hop_visitor *visitor, const char *words)
{
    struct login *login = (struct login *)visitor;
    if (varlink_call_more(login->call)) {
        cJSON *object = tunnel_object(login->hop);
        cJSON *tunnel = cJSON_GetObjectItemCaseSensitive(object, "tunnel");
        cJSON_DeleteItemFromObjectCaseSensitive(tunnel, "message");
        cJSON_AddStringToObject(tunnel, "message", words);
        varlink_call_continue(login->call, object);
    }
}

static void on_prompt(struct hop_visitor *visitor, const struct hop_prompt *prompt)
{
    struct login *login = (struct login *)visitor;
    cJSON *object = tunnel_object(login->hop);
    cJSON_AddItemToObject(object, "prompt", view_prompt(prompt));
    varlink_call_continue(login->call, object);
}

static void reply_error(struct varlink_call *call, struct hop *hop, int code, const char *words)
{
    const char *cluster = hop->config->name;
    if (code == -EACCES) {
        cJSON *object = cJSON_CreateObject();
        cJSON_AddStringToObject(object, "cluster", cluster);
        cJSON_AddStringToObject(object, "message", words);
        varlink_call_error(call, "org.gears.Manager.HumanNeeded", object);
    } else if (code == -EEXIST) {
        cJSON *object = cJSON_CreateObject();
        cJSON_AddStringToObject(object, "message", words);
        varlink_call_error(call, "org.gears.Manager.Conflict", object);
    } else {
        reply_failed(call, cluster, words);
    }
}

static void on_done(struct hop_visitor *visitor, int code, const struct error *err)
{
    struct login *login = (struct login *)visitor;
    struct varlink_call *call = login->call;
    struct hop *hop = login->hop;
    code = login->out ? 0 : code;
    free(login);
    varlink_call_on_close(call, NULL, NULL);
    if (code) {
        reply_error(call, hop, code, err->text);
    } else {
        varlink_call_reply(call, tunnel_object(hop));
    }
}

static struct login *make_login(struct varlink_call *call, struct hop *hop)
{
    struct login *login = calloc(1, sizeof *login);
    if (!login) {
        reply_failed(call, hop->config->name, "gearsd is out of memory");
        return NULL;
    }
    *login = (struct login){.visitor = {.step = on_step, .prompt = on_prompt, .done = on_done},
        .hop = hop,
        .call = call};
    varlink_call_on_close(call, on_close, login);
    return login;
}

void method_login(struct varlink_call *call, const cJSON *parameters, void *context)
{
    struct hop *hop = call_hop(context, call, parameters);
    struct login *login = hop ? make_login(call, hop) : NULL;
    if (login) {
        struct hop_login_options options = {
            .attended = call_bool(parameters, "interactive") && varlink_call_more(call),
            .force = call_bool(parameters, "force"),
            .agent = call_string(parameters, "agent"),
            .node = call_string(parameters, "node")};
        hop_login(hop, &options, &login->visitor);
    }
}

void method_answer_prompt(struct varlink_call *call, const cJSON *parameters, void *context)
{
    struct control *control = context;
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(parameters, "answers"), *item;
    const char *answers[HOP_PROMPTS] = {0};
    size_t count = 0;
    bool usable = true;
    cJSON_ArrayForEach(item, list)
    {
        const char *text = cJSON_GetStringValue(item);
        usable = usable && text && strlen(text) <= HOP_ANSWER_LIMIT && count < HOP_PROMPTS;
        if (usable) {
            answers[count++] = text;
        }
    }
    int code = usable ? remote_answer(control->remote, call_string(parameters, "prompt_id"),
                            answers, count)
                      : -E2BIG;
    if (!code) {
        varlink_call_reply(call, NULL);
    } else {
        reply_refused(call, code == -ESTALE   ? "this is not asked any more"
                            : code == -EINVAL ? "each prompt needs one answer"
                            : code == -E2BIG  ? "an answer has at most 1024 bytes"
                                              : "the answer could not be passed on");
    }
    explicit_bzero(answers, sizeof answers);
}

void method_logout(struct varlink_call *call, const cJSON *parameters, void *context)
{
    struct hop *hop = call_hop(context, call, parameters);
    struct login *login = hop ? make_login(call, hop) : NULL;
    if (login) {
        login->out = true;
        hop_logout(hop, &login->visitor);
    }
}

void method_takeover(struct varlink_call *call, const cJSON *parameters, void *context)
{
    struct hop *hop = call_hop(context, call, parameters);
    struct login *login = hop ? make_login(call, hop) : NULL;
    if (login) {
        hop_takeover(hop, &login->visitor);
    }
}

static cJSON *cluster_object(struct hop *hop)
{
    const struct cluster_config *config = hop->config;
    cJSON *object = tunnel_object(hop), *members;
    char node[256];
    cJSON_AddStringToObject(object, "name", config->name);
    cJSON_AddStringToObject(object, "host", config->host ? config->host : config->name);
    if (config->hub) {
        cJSON_AddStringToObject(object, "hub", config->hub);
    }
    cJSON_AddBoolToObject(object, "direct", config->direct);
    varlink_add_integer(object, "port", config->port);
    cJSON_AddStringToObject(object, "service", config->service);
    cJSON_AddStringToObject(object, "transport", config->transport);
    members = cJSON_AddArrayToObject(object, "members");
    for (char **member = config->members; member && *member; member++) {
        cJSON_AddItemToArray(members, cJSON_CreateString(*member));
    }
    place_target(&hop->place, config->members, node, sizeof node);
    if (node[0]) {
        cJSON_AddStringToObject(object, "node", node);
    }
    return object;
}

static void on_looked(struct hop_visitor *visitor, int code, const struct error *err)
{
    struct login *login = (struct login *)visitor;
    struct varlink_call *call = login->call;
    struct hop *hop = login->hop;
    (void)code; /* it is told as well as it is known */
    (void)err;
    free(login);
    varlink_call_on_close(call, NULL, NULL);
    varlink_call_reply(call, cluster_object(hop));
}

void method_cluster(struct varlink_call *call, const cJSON *parameters, void *context)
{
    struct hop *hop = call_hop(context, call, parameters);
    struct login *login = hop ? make_login(call, hop) : NULL;
    if (login) {
        hop_revalidate(hop);
        login->visitor.done = on_looked;
        hop_look(hop, &login->visitor);
    }
}

void add_tunnels(struct control *control, cJSON *object)
{
    cJSON *list = cJSON_AddArrayToObject(object, "tunnels");
    for (struct hop *hop = control->remote->hops; hop; hop = hop->next) {
        /* Clusters that nobody uses here are no news. */
        if (!hop_is_gone(hop) &&
            (hop->machine.wanted || hop->tunnel || hop->machine.state != HOP_DOWN ||
                hop->machine.cause || hop->held_by[0])) {
            hop_revalidate(hop);
            cJSON_AddItemToArray(list, view_tunnel(hop));
        }
    }
}
