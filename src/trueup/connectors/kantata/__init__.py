"""Kantata OX (formerly Mavenlink): projects, tasks, allocations and time; projects, tasks and invoice states go in."""
