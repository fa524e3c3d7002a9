// What is right in `[dmarc]` and yet hardly meant; see ConfigurationAdvice.

internal import PosternMail

enum DMARCAdvice {
    /// Without the list postern-dmarc starts all the same, and walks.
    static func give(on settings: DMARCSettings, _ table: TableValues, _ reader: inout ValueReader) {
        guard settings.discovery == .psl else { return }
        do throws(PublicSuffixFileError) { _ = try PublicSuffixFile.load() } catch {
            reader.advise(
                "\(error); until then \"treewalk\" is used: install the package publicsuffix",
                at: table.position(of: DMARCTable.discovery), keyPath: "dmarc.discovery")
        }
    }
}
