/* What starting any program costs: the limit of every command. */
int main(void)
{
    return 0;
}
