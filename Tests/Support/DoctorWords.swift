// Findings of `postern doctor` by how they are mended, for the two tests that hold the doctor to it: that the fixtures
// show the same (PosternAdminTests), and that every other one is mended by its lines on a real Postfix (EndToEndTests).

public enum DoctorWords {
    /// No line for the shell or for postern.toml mends these: another file, DNS, or somebody else must change.
    public static let withoutLine: Set<String> = [
        "configuration", "disk_space", "dkim_key", "dmarc", "dns_silent", "list_dead", "list_refused",
        "milter_header_checks", "postfix_version", "spf", "spf_excludes_us", "store_unreachable",
    ]
}
