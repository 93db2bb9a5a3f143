# The PVH entry: from 32-bit protected mode without paging to long mode at the image's own addresses. Of the image, this
# page and the notes are there; the rest is unpacked first.
#
# In: ebx = physical address of hvm_start_info. The final page tables are built here at once, so no page is
# ever writable and executable, not even during boot. The low alias of the image (PML4 entry 0 shares the
# table of entry 511) lives only from the moment paging comes on until the jump to the high half.

.set BASE, 0xffffffff80000000
.set PRESENT, 1
.set WRITABLE, 2
.set ACCESSED_DIRTY, 0x60
.set NO_EXECUTE, 0x80000000
.set READ, PRESENT | ACCESSED_DIRTY
.set READ_WRITE, PRESENT | WRITABLE | ACCESSED_DIRTY
.set IMAGE_TABLES, 8                            # 8 × 2 MiB: physical 0 to 16 MiB, linker.ld asserts it
.set WINDOW_TABLES, 4                           # 4 × 2 MiB of windows, memory.rs hands them out
.set PAINT, 0x5afe57ac                          # an unused half word of a stack, gauge.rs looks for it

# The PVH note (Xen: docs/misc/pvh.pandoc, XEN_ELFNOTE_PHYS32_ENTRY).
.section .note.Xen, "a", @note
    .balign 4
    .long 4, 8, 18
    .asciz "Xen"
    .quad pvh_entry - BASE

# The image id: `outpost image` writes it into the stripped ELF; zeros until then.
.section .note.outpost.image, "a", @note
    .balign 4
    .long 8, 32, 1
    .asciz "Outpost"
.global image_id
image_id:
    .zero 32

.section .tables, "aw", @nobits
    .balign 4096
pml4:           .zero 4096
high_directory_pointers: .zero 4096
image_directory: .zero 4096
window_directory: .zero 4096
image_tables:   .zero 4096 * IMAGE_TABLES
.global window_tables
window_tables:  .zero 4096 * WINDOW_TABLES

.section .boot, "ax", @progbits
# What `outpost image` writes here when it packs the image (cli/src/pack.rs): zeros in one that is as it was linked.
packed_len:     .long 0                         # bytes at bss_start, an LZ4 block
packed_hash:    .long 0                         # of these bytes by words, see `verify`; the last is filled up with zeros

entered:        .quad 0                         # the TSC

.code32
.global pvh_entry
pvh_entry:
    cli
    cld
    movl $(main_stack_top - BASE), %esp
    movl %ebx, %ebp
    rdtsc
    movl %eax, entered - BASE
    movl %edx, entered - BASE + 4

    # Without long mode and NX there is no W^X: say so and stop.
    movl $0x80000000, %eax
    cpuid
    movl $(refusal - BASE), %esi
    cmpl $0x80000001, %eax
    jb refuse
    movl $0x80000001, %eax
    cpuid
    andl $((1 << 29) | (1 << 20)), %edx
    cmpl $((1 << 29) | (1 << 20)), %edx
    jne refuse

    movl packed_len - BASE, %ecx
    testl %ecx, %ecx
    jz unpacked

    # Loaders do not look at what they load. After this every length and offset below is what the packer wrote. The hash
    # is FNV-1a that begins with the length, and with a rotation: the product carries upwards only, so that changes of the
    # highest bits would cancel out.
    movl $(damaged - BASE), %esi
    movl $(bss_start - BASE), %edi
    movl %edi, %ebx
    addl %ecx, %ebx
    jc refuse
    cmpl $(bss_end - BASE), %ebx                # or gigabytes would be hashed without a word
    ja refuse
    movl %ecx, %eax
verify:
    xorl (%edi), %eax
    roll $13, %eax
    imull $0x01000193, %eax
    addl $4, %edi
    cmpl %ebx, %edi
    jb verify
    cmpl packed_hash - BASE, %eax
    jne refuse

    # LZ4 block format: sequences of literals and a copy of what came before; the last one has literals only. TCG takes
    # a step for each move, so words are moved: up to three bytes too many, over which the next ones are written, at the
    # end into the tables, which are cleared below.
    movl $(bss_start - BASE), %esi
    movl $(unpacked_start - BASE), %edi
sequence:
    movzbl (%esi), %eax
    incl %esi
    movl %eax, %ecx
    shrl $4, %ecx
    cmpl $15, %ecx
    je long_literals
literals:
    movl %ecx, %edx
    addl $3, %ecx
    shrl $2, %ecx
    rep movsl
    negl %edx
    andl $3, %edx                               # so many too many
    subl %edx, %esi
    subl %edx, %edi
    cmpl %ebx, %esi
    jae unpacked
    movzwl (%esi), %edx
    addl $2, %esi
    movl %eax, %ecx
    andl $15, %ecx
    cmpl $15, %ecx
    je long_match
match:
    addl $4, %ecx
    movl %esi, %eax
    movl %edi, %esi
    subl %edx, %esi
    cmpl $4, %edx
    jb by_bytes                                 # a word would hold what is not written yet
    movl %ecx, %edx
    addl $3, %ecx
    shrl $2, %ecx
    rep movsl
    negl %edx
    andl $3, %edx
    subl %edx, %edi
by_bytes:
    rep movsb                                   # none are left of what went by words
    movl %eax, %esi
    jmp sequence
unpacked:

    # Nothing is pushed any more, so the stacks can be painted whole; their guard pages are plain memory yet.
    movl $(stacks_start - BASE), %edi
    movl $(stacks_end - BASE), %ecx
    subl %edi, %ecx
    shrl $2, %ecx
    movl $PAINT, %eax
    rep stosl

    movl $(tables_start - BASE), %edi
    movl $(tables_end - BASE), %ecx
    subl %edi, %ecx
    shrl $2, %ecx
    xorl %eax, %eax
    rep stosl

    # One pass over the regions: every 4 KiB page of each gets its entry.
    movl $(regions - BASE), %esi
next_region:
    movl 0(%esi), %eax                          # first byte
    movl 4(%esi), %ecx                          # end
next_page:
    cmpl %ecx, %eax
    jae region_done
    movl %eax, %edi
    shrl $9, %edi                               # page number × 8
    movl %eax, %edx
    orl 8(%esi), %edx
    movl %edx, (image_tables - BASE)(%edi)
    movl 12(%esi), %edx
    movl %edx, (image_tables - BASE + 4)(%edi)
    addl $4096, %eax
    jmp next_page
region_done:
    addl $16, %esi
    cmpl $(regions_end - BASE), %esi
    jb next_region

    movl $(image_tables - BASE + READ_WRITE), %eax
    movl $(image_directory - BASE), %edi
    movl $IMAGE_TABLES, %ecx
    call link_tables
    movl $(window_tables - BASE + READ_WRITE), %eax
    movl $(window_directory - BASE), %edi
    movl $WINDOW_TABLES, %ecx
    call link_tables

    movl $(image_directory - BASE + READ_WRITE), %eax
    movl %eax, high_directory_pointers - BASE
    movl %eax, high_directory_pointers - BASE + 510 * 8
    movl $(window_directory - BASE + READ_WRITE), high_directory_pointers - BASE + 511 * 8
    movl $(high_directory_pointers - BASE + READ_WRITE), %eax
    movl %eax, pml4 - BASE
    movl %eax, pml4 - BASE + 511 * 8

    movl $(1 << 5), %eax                        # PAE
    movl %eax, %cr4
    movl $(pml4 - BASE), %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx                      # EFER: LME, NXE
    rdmsr
    orl $((1 << 8) | (1 << 11)), %eax
    wrmsr
    movl $((1 << 31) | (1 << 16) | (1 << 5) | (1 << 4) | 1), %eax  # PG, WP, NE, ET, PE
    movl %eax, %cr0
    lgdtl boot_gdt_pointer - BASE
    ljmpl $8, $(long_mode - BASE)

# eax = first table with its flags, edi = directory, ecx = how many.
link_tables:
    movl %eax, (%edi)
    addl $4096, %eax
    addl $8, %edi
    loop link_tables
    ret

# A length of four bits that is 15 goes on in bytes, up to one that is not 255. Beside the road: a call and a return for
# each length would be a fifth of the time under TCG.
long_literals:
    call length_bytes
    jmp literals
long_match:
    call length_bytes
    jmp match

# Adds them to ecx. Keeps eax and edx.
length_bytes:
    pushl %eax
length_byte:
    movzbl (%esi), %eax
    incl %esi
    addl %eax, %ecx
    cmpl $255, %eax
    je length_byte
    popl %eax
    ret

# esi = what to say.
refuse:
    lodsb
    testb %al, %al
    jz refuse_stop
    movb %al, %bl
    movl $100000, %ecx                          # bound: a port that is never ready must not hold us
    movw $0x3fd, %dx
refuse_wait:
    inb %dx, %al
    testb $0x20, %al
    loopz refuse_wait
    movw $0x3f8, %dx
    movb %bl, %al
    outb %al, %dx
    jmp refuse
refuse_stop:
    hlt
    jmp refuse_stop

.code64
long_mode:
    movabsq $high, %rax
    jmp *%rax
high:
    xorl %eax, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl %eax, %fs
    movl %eax, %gs
    movq $main_stack_top, %rsp
    # The low alias goes; reloading CR3 flushes it (no page is global).
    movq $0, pml4(%rip)
    movq $0, high_directory_pointers(%rip)
    movq %cr3, %rax
    movq %rax, %cr3
    movl %ebp, %edi
    movq entered(%rip), %rsi
    xorl %ebp, %ebp
    call boot
    ud2

    .balign 16
regions:
    .long log_start - BASE, log_end - BASE, READ_WRITE, NO_EXECUTE
    .long boot_start - BASE, rodata_start - BASE, READ, 0
    .long rodata_start - BASE, rodata_end - BASE, READ, NO_EXECUTE
    .long text_start - BASE, text_end - BASE, READ, 0
    .long data_start - BASE, tables_end - BASE, READ_WRITE, NO_EXECUTE
    .long main_stack_bottom - BASE, main_stack_top - BASE, READ_WRITE, NO_EXECUTE
    .long page_fault_stack_bottom - BASE, page_fault_stack_top - BASE, READ_WRITE, NO_EXECUTE
    .long double_fault_stack_bottom - BASE, double_fault_stack_top - BASE, READ_WRITE, NO_EXECUTE
    .long other_fault_stack_bottom - BASE, other_fault_stack_top - BASE, READ_WRITE, NO_EXECUTE
    .long bss_start - BASE, bss_end - BASE, READ_WRITE, NO_EXECUTE
regions_end:

boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff                    # 64-bit code
boot_gdt_pointer:
    .word 15
    .long boot_gdt - BASE

refusal:
    .asciz "\r\noutpost: this processor has no long mode or no NX: use a 64-bit CPU model (QEMU: -cpu qemu64 or newer).\r\n"
damaged:
    .asciz "\r\noutpost: the image is damaged, or the machine has less memory than its 12 MiB: write the file again, or give it more (QEMU: -m 12).\r\n"
.global boot_end
boot_end:
