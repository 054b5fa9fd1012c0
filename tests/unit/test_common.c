/* Small values, records, frames, names of hosts. */
#include "tests/unit/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/host.h"
#include "common/link.h"
#include "common/network_fs.h"
#include "common/proc.h"
#include "common/record.h"
#include "common/text.h"

static void check_values(void)
{
    int64_t ms;
    uint64_t bytes;
    CHECK(!duration_parse("90s", &ms, NULL) && ms == 90000);
    CHECK(!duration_parse("1h30m", &ms, NULL) && ms == 5400000);
    CHECK(!duration_parse("15", &ms, NULL) && ms == 15000);
    CHECK(!duration_parse("250ms", &ms, NULL) && ms == 250);
    const char *bad[] = {"", "soon", "-1s", "5x", "1s2", "999999999999d", "1 s"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK(duration_parse(bad[i], &ms, NULL) == -EINVAL);
    }
    CHECK(!size_parse("64M", &bytes, NULL) && bytes == 64 << 20);
    CHECK(!size_parse("2G", &bytes, NULL) && bytes == 2ULL << 30);
    CHECK(size_parse("64Q", &bytes, NULL) && size_parse("99999999999T", &bytes, NULL));
    CHECK(!name_check("lab-2", NULL) && name_check("../x", NULL) && name_check("gearsd", NULL));
    const char *words[] = {"start", "stop", NULL};
    CHECK(string_equal(closest_find("strat", words), "start") && !closest_find("zzzz", words));
    char seen[32];
    visible_format("a\n\x1b", 3, seen, sizeof seen);
    CHECK(!strcmp(seen, "a\\n\\x1b"));
}

static void check_records(void)
{
    struct record *record = record_create(), *again = NULL;
    size_t length;
    CHECK(!record_add(record, "name", "a\nb\\c\x01") && !record_add_integer(record, "n", -5));
    CHECK(record_add(record, "Bad Key", "x") == -EINVAL);
    char *text = record_format(record, &length);
    CHECK(!record_parse(text, length, &again, NULL));
    CHECK(string_equal(record_find(again, "name", 0), "a\nb\\c\x01"));
    CHECK(record_integer(again, "n", 0) == -5 && record_integer(again, "none", 7) == 7);
    record_destroy(again);
    for (size_t cut = 0; cut < length; cut++) { /* torn at any byte: never taken for whole */
        CHECK(record_parse(text, cut, &again, NULL) == -EBADMSG);
    }
    free(text);
    record_destroy(record);
}

static void check_frames(void)
{
    int pair[2];
    static uint8_t buffer[LINK_FRAME_LIMIT];
    struct link_frame frame;
    struct link_message message;
    CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair));
    link_frame_start(&frame, LINK_KEEPER_START, 9);
    link_frame_string(&frame, LINK_TAG_ARG, "one");
    link_frame_string(&frame, LINK_TAG_ARG, "two");
    link_frame_u64(&frame, LINK_TAG_PID, 77);
    link_frame_fd(&frame, 0);
    CHECK(!link_send(pair[0], &frame));
    CHECK(link_receive(pair[1], buffer, &message) == 1);
    char word[8];
    CHECK(message.type == LINK_KEEPER_START && message.request == 9 && message.fd_count == 1);
    CHECK(
        link_find_string(&message, LINK_TAG_ARG, 1, word, sizeof word) && !strcmp(word, "two"));
    CHECK(
        link_u64(&message, LINK_TAG_PID, 0) == 77 && link_u64(&message, LINK_TAG_SLOT, 3) == 3);
    link_message_finish(&message);
    close(pair[0]);
    CHECK(link_receive(pair[1], buffer, &message) == 0);
    close(pair[1]);
    /* A frame as the first build sent it: HELLO, request 1, one unknown tag. */
    static const uint8_t recorded[] = {
        'G', 1, 2, 0, 1, 0, 0, 0, 0xff, 0x7f, 0, 0, 1, 0, 0, 0, 'x'};
    CHECK(!link_parse(recorded, sizeof recorded, &message) && message.type == LINK_HELLO);
    for (size_t cut = 1; cut < sizeof recorded; cut++) {
        CHECK(cut == 8 || link_parse(recorded, cut, &message) == -EBADMSG);
    }
}

static void check_hosts(void)
{
    char name[HOST_NAME_SIZE];
    CHECK(!host_name_from("andes-login3.olcf.ornl.gov", "", name, NULL));
    CHECK(!strcmp(name, "andes-login3.olcf"));
    CHECK(!host_name_from(
        "login01", "10.0.0.1 login01.frontier.olcf.ornl.gov login01\n", name, NULL));
    CHECK(!strcmp(name, "login01.frontier"));
    CHECK(!host_name_from("LOGIN01", "# none\n", name, NULL) && !strcmp(name, "login01"));
    CHECK(host_name_from("../x", "", name, NULL) == -EINVAL);
}

static void check_processes(void)
{
    struct proc_stat self;
    CHECK(!proc_stat_read(getpid(), &self) && self.ppid == getppid());
    CHECK(proc_is_alive(getpid(), self.start_time));
    CHECK(!proc_is_alive(getpid(), self.start_time + 1)); /* the pid, reused */
}

static void check_file_systems(void)
{
    const long remote[] = {0x6969, 0x0BD00BD0, 0x47504653, 0x65735546, (int32_t)0xFF534D42};
    const long local[] = {0xEF53, 0x58465342, 0x01021994, 0x9123683E, 0x794C7630, 0x9FA0, 0};
    for (size_t i = 0; i < sizeof remote / sizeof *remote; i++) {
        CHECK(network_fs_is_type(remote[i]));
    }
    for (size_t i = 0; i < sizeof local / sizeof *local; i++) {
        CHECK(!network_fs_is_type(local[i]));
    }
    CHECK(!network_fs_holds("/proc/self") && !network_fs_holds("/") && !network_fs_holds(""));
    CHECK(!network_fs_holds("/no/such/folder"));
}

int main(void)
{
    check_file_systems();
    check_values();
    check_records();
    check_frames();
    check_hosts();
    check_processes();
    return check_result();
}
