"""What the page imports: modules of JavaScript beside this file."""
