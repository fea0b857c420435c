/* cmd/realm/cmd_helper.c - the child process: compiles guests, renders templates. */
#include "base/limits.h"
#include "chat/chat.h"
#include "cmd.h"
#include "helper/helper.h"
#include "wasm/wasm.h"

int cmd_helper(int argc, char **argv)
{
    (void)argv;
    if (argc != 1)
        return cmd_usage("helper", "this command is for the program itself");
    const struct helper_work work = {
        .fn = {[HELPER_RENDER] = chat_render_work, [HELPER_COMPILE] = wasm_compile_work},
        .cpu_s = {[HELPER_RENDER] = HELPER_RENDER_CPU_S, [HELPER_COMPILE] = HELPER_COMPILE_CPU_S},
    };
    return helper_serve(HELPER_FD, &work);
}
