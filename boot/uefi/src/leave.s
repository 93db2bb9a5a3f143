# From UEFI's long mode to the PVH entry: 32-bit protected mode, no paging, flat segments, ebx = start info
# (Xen: docs/misc/pvh.pandoc).
#
# In: rdx = list of copies (from, to, length, zeros; to = 0 ends it), rdi = start info, rsi = entry, all below 4 GiB.
# Runs from a page of its own at any address below 4 GiB, and touches no memory but the list and what is copied: the
# firmware's stack, page tables and descriptors may all lie where the image goes.

.section .text.leave, "xr"
.global leave_start
.code64
leave_start:
    cli
    cld
    movl %edi, %ebx
    movl %esi, %ebp

    # What would forbid the steps below: PCIDE keeps paging on, CET keeps WP on (Intel SDM 3A, 2.5, 4.10.1). LA57 can
    # only be changed without paging.
    movq %cr4, %rax
    andl $((1 << 5) | (1 << 12)), %eax          # PAE, LA57
    movq %rax, %cr4

    leaq leave_gdt(%rip), %rax
    subq $16, %rsp
    movw $(leave_gdt_end - leave_gdt - 1), (%rsp)
    movq %rax, 2(%rsp)
    lgdt (%rsp)
    leaq leave_narrow(%rip), %rax
    pushq $8
    pushq %rax
    lretq

.code32
leave_narrow:
    movl $16, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl %eax, %fs
    movl %eax, %gs
    movl $0x11, %eax                            # ET, PE: without PG, long mode ends
    movl %eax, %cr0
    movl %edx, %edi
    movl $0xc0000080, %ecx                      # EFER
    xorl %eax, %eax
    xorl %edx, %edx
    wrmsr
    movl %eax, %cr4
    movl %edi, %edx

leave_copy:
    movl 4(%edx), %edi
    testl %edi, %edi
    jz leave_done
    movl (%edx), %esi
    movl 8(%edx), %ecx
    rep movsb
    xorl %eax, %eax
    movl 12(%edx), %ecx
    shrl $2, %ecx
    rep stosl
    movl 12(%edx), %ecx
    andl $3, %ecx
    rep stosb
    addl $16, %edx
    jmp leave_copy
leave_done:
    jmp *%ebp

    .balign 8
leave_gdt:
    .quad 0
    .quad 0x00cf9b000000ffff                    # 32-bit code
    .quad 0x00cf93000000ffff                    # data
leave_gdt_end:
.global leave_end
leave_end:
.code64
