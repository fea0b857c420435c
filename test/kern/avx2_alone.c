/* test/kern/avx2_alone.c - an instruction of AVX2 and no look at the processor:
 * older_cpus_test.py sees the program die on one that has none. */
int main(void)
{
    __asm__ volatile("vpaddd %%ymm0, %%ymm0, %%ymm0" ::: "xmm0");
    return 0;
}
