# One stub of 16 bytes per device vector: it sets its flag and acknowledges. All work is done by the loop.
# Instructions that address memory by %rip need no register, so only the acknowledgement saves one.

.text
.balign 16
.global interrupt_stubs
interrupt_stubs:
.set index, 0
.rept 32
    .balign 16
    movb $1, {pending} + index(%rip)
    jmp interrupt_common
    .set index, index + 1
.endr

interrupt_common:
    movb $1, {woken}(%rip)
    pushq %rax
    movq {acknowledge}(%rip), %rax
    movl $0, (%rax)
    popq %rax
    iretq

# The SCI is level-triggered: it would come again at once unless its cause is taken away before the
# acknowledgement. So this stub clears the PM1 status bits (writing ones) and keeps them for the loop.
.global sci_stub
sci_stub:
    pushq %rax
    pushq %rdx
    movw {pm1_status}(%rip), %dx
    inw %dx, %ax
    outw %ax, %dx
    orw %ax, {pm1_events}(%rip)
    popq %rdx
    popq %rax
    jmp interrupt_common

# Spurious interrupts are not acknowledged (Intel SDM 3A, 11.9).
.global spurious_stub
spurious_stub:
    iretq
