"""The size of replies, for the code that writes them and the code that refuses them in advance."""

MAX_REPLY_BYTES = 64 * 1024 * 1024
# The longest text of a float32, such as -1.1754943508222875e-38 with a comma and a space, and the text of a row without
# its numbers, such as `{"score": []}, `.
BYTES_A_NUMBER, BYTES_A_ROW = 26, 16
