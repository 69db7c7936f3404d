package conformance;

import java.nio.charset.StandardCharsets;

/** Bytes as text: printable ASCII as it is, a backslash and every other byte as {@code \xNN}. */
final class Text {
    private Text() { }

    static String show(final byte[] bytes) {
        if (bytes == null) {
            return null;
        }
        final StringBuilder text = new StringBuilder();
        for (final byte each : bytes) {
            final int code = each & 0xff;
            if (code >= 0x20 && code < 0x7f && code != '\\') {
                text.append((char) code);
            } else {
                text.append(String.format("\\x%02x", code));
            }
        }
        return text.toString();
    }

    static byte[] read(final String text) {
        if (text == null) {
            return null;
        }
        final byte[] raw = text.getBytes(StandardCharsets.UTF_8);
        final byte[] bytes = new byte[raw.length];
        int length = 0;
        for (int at = 0; at < raw.length; at++) {
            if (raw[at] == '\\') {
                if (at + 3 >= raw.length || raw[at + 1] != 'x') {
                    throw new IllegalArgumentException("a backslash is written \\x5c: " + text);
                }
                bytes[length++] = (byte) Integer.parseInt(new String(raw, at + 2, 2, StandardCharsets.US_ASCII), 16);
                at += 3;
            } else {
                bytes[length++] = raw[at];
            }
        }
        return java.util.Arrays.copyOf(bytes, length);
    }
}
