"""How large a reply may be, and what is in it: for what writes replies and for what refuses them beforehand."""

MAX_REPLY_BYTES = 64 * 1024 * 1024
# The most that one number of float32 takes as text, such as -1.1754943508222875e-38 with a comma and a space; and what
# a row takes beside its numbers, such as `{"score": []}, `.
BYTES_A_NUMBER, BYTES_A_ROW = 26, 16
