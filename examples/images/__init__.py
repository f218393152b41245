"""Images of clothes and digits, a code for them, and a judge of them."""
