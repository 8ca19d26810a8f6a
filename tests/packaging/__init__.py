"""The examples in packaging/, run as they stand or judged by the programs that would read them."""
