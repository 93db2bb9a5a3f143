/* Counts, exactly and live, what a guest under QEMU's translator executes.
 *
 *   -plugin count.so,out=FILE[,code=ADDRESS,bytes=N]
 *
 * FILE is shared memory: the guest's CPU adds to it while it runs and the benchmark reads it whenever it likes, so a
 * measurement is the difference of two reads and QEMU is never stopped for one. Its layout, all u64 in host order:
 *
 *   0      the counters of `enum counter` below
 *   4096   with code=: N counters, one for each byte address from ADDRESS on: how often the instruction that
 *          begins there was executed. The benchmark sums them by function. The file is sparse, few are ever touched.
 *
 * What always holds: every counter is added to by code inlined into the translation, before its instruction runs, so
 * the sum does not depend on how QEMU cuts the code into blocks. One CPU is assumed: inline additions are not atomic.
 *
 * QEMU's packages do not bring qemu-plugin.h. What we use of it is declared here as version 1 of the interface has
 * it (docs/devel/tcg-plugins.rst; QEMU 6.0 and later, 7.2 measured).
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PUBLIC __attribute__((visibility("default")))

typedef uint64_t qemu_plugin_id_t;
typedef uint32_t qemu_plugin_meminfo_t;
typedef struct qemu_info_t qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_plugin_hwaddr;
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };
enum qemu_plugin_mem_rw { QEMU_PLUGIN_MEM_R = 1, QEMU_PLUGIN_MEM_W, QEMU_PLUGIN_MEM_RW };

typedef void (*on_block_t)(qemu_plugin_id_t, struct qemu_plugin_tb *);
typedef void (*on_memory_t)(unsigned int cpu, qemu_plugin_meminfo_t, uint64_t address, void *);

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, on_block_t);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t index);
const uint8_t *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *, enum qemu_plugin_op, void *, uint64_t);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *, on_memory_t, enum qemu_plugin_cb_flags,
                                      enum qemu_plugin_mem_rw, void *);
struct qemu_plugin_hwaddr *qemu_plugin_get_hwaddr(qemu_plugin_meminfo_t, uint64_t address);
bool qemu_plugin_hwaddr_is_io(const struct qemu_plugin_hwaddr *);
bool qemu_plugin_mem_is_store(qemu_plugin_meminfo_t);

PUBLIC int qemu_plugin_version = 1;

/* The order is the file's: bench/src/counter.rs reads it. */
enum counter { INSTRUCTIONS, HALTS, PORT_READS, PORT_WRITES, MEMORY_READS, MEMORY_WRITES, COUNTERS };

/* One page, so that the counters by address begin on a page of their own. */
enum { HEADER = 4096 };

/* Most code that is told apart by address: an image is at most half a MiB. */
enum { CODE_MAX = 16 * 1024 * 1024 };

static uint64_t *counters;
static uint64_t *by_address;
static uint64_t code_begin;
static uint64_t code_bytes;

/* Whether this byte changes the instruction behind it and is none itself: operand and address size, segments, lock and
 * repeat (Intel SDM volume 2, 2.1.1), and REX (2.2.1), which is an instruction of one byte in 32-bit code. */
static bool is_prefix(uint8_t byte)
{
    switch (byte) {
    case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64: case 0x65: case 0x66: case 0x67: case 0xf0: case 0xf2: case 0xf3:
        return true;
    default:
        return (byte & 0xf0) == 0x40;
    }
}

/* Which counter besides INSTRUCTIONS an instruction belongs to: COUNTERS for none. */
static enum counter kind_of(const uint8_t *code, size_t size)
{
    size_t at = 0;
    while (at + 1 < size && is_prefix(code[at])) {
        at++;
    }
    switch (size ? code[at] : 0) {
    case 0xf4: /* hlt */
        return HALTS;
    case 0xe4: case 0xe5: case 0xec: case 0xed: case 0x6c: case 0x6d: /* in, ins */
        return PORT_READS;
    case 0xe6: case 0xe7: case 0xee: case 0xef: case 0x6e: case 0x6f: /* out, outs */
        return PORT_WRITES;
    default:
        return COUNTERS;
    }
}

static void on_memory(unsigned int cpu, qemu_plugin_meminfo_t info, uint64_t address, void *data)
{
    const struct qemu_plugin_hwaddr *physical = qemu_plugin_get_hwaddr(info, address);
    (void)cpu;
    (void)data;
    if (physical && qemu_plugin_hwaddr_is_io(physical)) {
        counters[qemu_plugin_mem_is_store(info) ? MEMORY_WRITES : MEMORY_READS]++;
    }
}

static void add_one_to(uint64_t *counter, struct qemu_plugin_insn *instruction)
{
    qemu_plugin_register_vcpu_insn_exec_inline(instruction, QEMU_PLUGIN_INLINE_ADD_U64, counter, 1);
}

static void on_block(qemu_plugin_id_t id, struct qemu_plugin_tb *block)
{
    size_t count = qemu_plugin_tb_n_insns(block);
    (void)id;
    for (size_t index = 0; index < count; index++) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, index);
        enum counter kind = kind_of(qemu_plugin_insn_data(instruction), qemu_plugin_insn_size(instruction));
        uint64_t offset = qemu_plugin_insn_vaddr(instruction) - code_begin;
        add_one_to(&counters[INSTRUCTIONS], instruction);
        if (kind != COUNTERS) {
            add_one_to(&counters[kind], instruction);
        }
        if (offset < code_bytes) {
            add_one_to(&by_address[offset], instruction);
        }
        qemu_plugin_register_vcpu_mem_cb(instruction, on_memory, QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW, NULL);
    }
}

/* The value of an argument `name=value`, or NULL when it is another one. */
static const char *value_of(const char *argument, const char *name)
{
    size_t length = strlen(name);
    return strncmp(argument, name, length) == 0 && argument[length] == '=' ? argument + length + 1 : NULL;
}

PUBLIC int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
    const char *file = NULL;
    size_t length;
    int descriptor;
    (void)info;
    for (int index = 0; index < argc; index++) {
        const char *value;
        if ((value = value_of(argv[index], "out"))) {
            file = value;
        } else if ((value = value_of(argv[index], "code"))) {
            code_begin = strtoull(value, NULL, 0);
        } else if ((value = value_of(argv[index], "bytes"))) {
            code_bytes = strtoull(value, NULL, 0);
        } else {
            return -1;
        }
    }
    if (!file || code_bytes > CODE_MAX) {
        return -1;
    }
    length = HEADER + code_bytes * sizeof(uint64_t);
    descriptor = open(file, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (descriptor < 0 || ftruncate(descriptor, (off_t)length)) {
        return -1;
    }
    counters = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (counters == MAP_FAILED) {
        return -1;
    }
    by_address = counters + HEADER / sizeof(uint64_t);
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_block);
    return 0;
}
