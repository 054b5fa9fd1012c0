/* common/lease: who holds a name, and that nothing but another's lease takes it away. What NFS
 * does to link(2), and a record that can be neither read nor written, is put in by the linker
 * (--wrap). */
#include <errno.h>
#include <unistd.h>

#include "common/lease.h"
#include "common/proc.h"
#include "common/record.h"
#include "tests/unit/scratch.h"

int __real_link(const char *from, const char *to);
int __wrap_link(const char *from, const char *to);
int __real_record_load(const char *path, struct record **record, struct error *err);
int __wrap_record_load(const char *path, struct record **record, struct error *err);
int __real_record_store(const struct record *record, const char *path, struct error *err);
int __wrap_record_store(const struct record *record, const char *path, struct error *err);

static struct home home = {.host = "hub1.ccs", .boot_id = "this boot"};
static char path[PATH_MAX];
static bool reply_is_lost;
static int unreadable, unwritable; /* negative errno, or 0 */

int __wrap_link(const char *from, const char *to)
{
    int code = __real_link(from, to);
    return reply_is_lost && !code ? __real_link(from, to) : code;
}

int __wrap_record_load(const char *name, struct record **record, struct error *err)
{
    return unreadable ? unreadable : __real_record_load(name, record, err);
}

int __wrap_record_store(const struct record *record, const char *name, struct error *err)
{
    return unwritable ? unwritable : __real_record_store(record, name, err);
}

/* A lease as another process left it: pid 0 is nobody's, 1 lives. */
static void leave(const char *host, const char *boot, pid_t pid, const char *nonce)
{
    struct proc_stat stat = {0};
    struct record *record = record_create();
    proc_stat_read(pid, &stat);
    record_add(record, "host", host);
    record_add(record, "boot_id", boot);
    record_add(record, "node", "");
    record_add_integer(record, "pid", pid);
    record_add_integer(record, "start_time", (int64_t)stat.start_time);
    record_add(record, "nonce", nonce);
    CHECK_INT(record_store(record, path, NULL), 0);
    record_destroy(record);
}

static struct lease held(const char *nonce)
{
    struct lease lease;
    snprintf(lease.path, sizeof lease.path, "%s", path);
    snprintf(lease.nonce, sizeof lease.nonce, "%s", nonce);
    return lease;
}

static void check_seen(const char *host, const char *nonce, bool here, bool alive, bool damaged)
{
    struct lease_seen seen;
    CHECK_INT(lease_look(&home, path, &seen), 0);
    CHECK_STRING(seen.host, host);
    CHECK_STRING(seen.nonce, nonce);
    CHECK_INT(seen.here, here);
    CHECK_INT(seen.alive, alive);
    CHECK_INT(seen.damaged, damaged);
}

static void test_acquire(void)
{
    struct lease lease, other;
    struct lease_seen seen;
    CHECK_INT(lease_look(&home, path, &seen), -ENOENT);
    CHECK_INT(lease_acquire(&home, path, &lease, NULL, NULL), 0);
    CHECK_INT(lease_is_held(&lease), 1);
    CHECK_INT(lease_look(&home, path, &seen), 0);
    CHECK(seen.here && seen.own && seen.alive && !seen.rebooted && !seen.damaged);
    CHECK_INT(seen.pid, getpid());
    other = held("another");
    CHECK_INT(lease_is_held(&other), 0);
    lease_release(&other);
    CHECK_INT(lease_is_held(&lease), 1);
    lease_release(&lease);
    CHECK_INT(lease_is_held(&lease), -ENOENT);
}

static void test_others(void)
{
    struct lease lease;
    struct lease_seen by;
    struct error err;
    leave("hub2.ccs", "a boot", 0, "two"); /* is never presumed dead from here */
    check_seen("hub2.ccs", "two", false, true, false);
    CHECK_INT(lease_acquire(&home, path, &lease, &by, &err), 1);
    CHECK_STRING(by.node, "hub2.ccs");
    CHECK_HOLDS(err.text, "on hub2.ccs holds it");
    CHECK(!lease_bury(&home, path, "two"));
    leave(home.host, home.boot_id, 1, "init");
    CHECK_INT(lease_acquire(&home, path, &lease, NULL, &err), 1);
    CHECK(!lease_bury(&home, path, "init"));
    leave(home.host, "an earlier boot", 1, "old");
    check_seen(home.host, "old", true, false, false);
    CHECK_INT(lease_acquire(&home, path, &lease, NULL, &err), 0);
    lease_release(&lease);
    leave(home.host, home.boot_id, 0, "dead");
    CHECK(!lease_bury(&home, path, "another"));
    CHECK(lease_bury(&home, path, "dead"));
    leave("hub2.ccs", "a boot", 0, "two");
    CHECK_INT(lease_take_over(&home, path, &lease, &err), 0);
    CHECK_INT(lease_is_held(&lease), 1);
    lease_release(&lease);
}

static void test_damaged(void)
{
    struct lease lease = held("mine");
    scratch_write(path, "gears-record 1\nhost=hu", 0600);
    check_seen("", "", false, false, true);
    CHECK_INT(lease_is_held(&lease), -EBADMSG);
    CHECK(lease_bury(&home, path, ""));
    scratch_write(path, "gears-record 1\nhost=hub2.ccs\nend 1\n", 0600);
    check_seen("", "", false, false, true);
    CHECK_INT(lease_acquire(&home, path, &lease, NULL, NULL), 0);
    lease_release(&lease);
}

/* ESTALE, EIO, EACCES tell nothing of who holds it: nobody's lease is lost by that. */
static void test_unreadable(void)
{
    static const int codes[] = {-EIO, -EACCES, -ESTALE, -ENOMEM};
    struct lease lease = held("mine"), other;
    struct lease_seen seen;
    leave(home.host, home.boot_id, 0, "mine");
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        unreadable = codes[i];
        CHECK_INT(lease_look(&home, path, &seen), codes[i]);
        CHECK_INT(lease_is_held(&lease), codes[i]);
        CHECK_INT(lease_keep(&home, &lease, NULL, NULL), codes[i]);
        CHECK_STRING(lease.nonce, "mine");
        CHECK_INT(lease_acquire(&home, path, &other, NULL, NULL), codes[i]);
        CHECK(!lease_bury(&home, path, "mine"));
        lease_release(&lease);
        unreadable = 0;
        check_seen(home.host, "mine", true, false, false);
    }
    unlink(path);
}

static void test_keep(void)
{
    struct lease lease = held("mine");
    struct lease_seen seen;
    /* From before this process: renewed, under the same nonce. */
    leave(home.host, home.boot_id, 0, "mine");
    unwritable = -ENOSPC;
    CHECK_INT(lease_keep(&home, &lease, NULL, NULL), 0);
    unwritable = 0;
    check_seen(home.host, "mine", true, false, false);
    CHECK_INT(lease_keep(&home, &lease, NULL, NULL), 0);
    check_seen(home.host, "mine", true, true, false);
    /* A cleaner took it, and the disk is full for a while. */
    unlink(path);
    unwritable = -EDQUOT;
    CHECK_INT(lease_keep(&home, &lease, NULL, NULL), -EDQUOT);
    CHECK_STRING(lease.nonce, "mine");
    unwritable = 0;
    CHECK_INT(lease_keep(&home, &lease, NULL, NULL), 0);
    CHECK_INT(lease_is_held(&lease), 1);
    scratch_write(path, "torn", 0600);
    CHECK_INT(lease_keep(&home, &lease, NULL, NULL), 0);
    CHECK_INT(lease_is_held(&lease), 1);
    /* Another has it: lost, and still told apart. */
    leave("hub2.ccs", "a boot", 0, "two");
    char before[NONCE_TEXT_SIZE];
    memcpy(before, lease.nonce, sizeof before);
    CHECK_INT(lease_keep(&home, &lease, NULL, NULL), 1);
    unwritable = -ENOSPC;
    CHECK_INT(lease_keep(&home, &lease, NULL, NULL), 1);
    unwritable = 0;
    CHECK_STRING(lease.nonce, before);
    check_seen("hub2.ccs", "two", false, true, false);
    /* One that this process took before its exec is not another's. */
    leave(home.host, home.boot_id, getpid(), "before the exec");
    lease = held("");
    unwritable = -ENOSPC; /* nor is one on a full disk */
    CHECK_INT(lease_keep(&home, &lease, NULL, NULL), 0);
    unwritable = 0;
    CHECK_STRING(lease.nonce, "before the exec");
    CHECK_INT(lease_acquire(&home, path, &lease, NULL, NULL), 0);
    CHECK_INT(lease_is_held(&lease), 1);
    CHECK_INT(lease_look(&home, path, &seen), 0);
    CHECK(seen.own);
    lease_release(&lease);
}

static void test_lost_reply(void)
{
    struct lease lease;
    reply_is_lost = true;
    CHECK_INT(lease_acquire(&home, path, &lease, NULL, NULL), 0);
    reply_is_lost = false;
    CHECK_INT(lease_is_held(&lease), 1);
    lease_release(&lease);
}

int main(void)
{
    char root[PATH_MAX], folder[PATH_MAX + 8];
    scratch_folder(root);
    snprintf(home.root, sizeof home.root, "%.*s", (int)sizeof home.root - 1, root);
    snprintf(folder, sizeof folder, "%s/run", root);
    mkdir(folder, 0700);
    lease_path(&home, "andes", path);
    test_acquire();
    test_others();
    test_damaged();
    test_unreadable();
    test_keep();
    test_lost_reply();
    scratch_remove(root);
    return check_result();
}
