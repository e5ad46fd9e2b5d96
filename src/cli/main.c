/* The program's first function, apart so that tests can link everything else. */
#include "cli/cli.h"

int main(int argc, char **argv)
{
    return rf_cli_main(argc, argv);
}
