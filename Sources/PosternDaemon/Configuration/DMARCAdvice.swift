// What is right in `[dmarc]` and yet hardly meant; see ConfigurationAdvice.

internal import PosternMail

enum DMARCAdvice {
    static func give(on settings: DMARCSettings, _ table: TableValues, _ reader: inout ValueReader) {
        if settings.onQuarantine > settings.onReject {
            reader.advise(
                "mail fares worse where its author asks for less: \"\(settings.onQuarantine.rawValue)\" is stricter "
                    + "than dmarc.on_reject, which is \"\(settings.onReject.rawValue)\"",
                at: table.position(of: DMARCTable.onQuarantine), keyPath: "dmarc.on_quarantine")
        }
        discovery(settings, table, &reader)
    }

    /// Without the list postern-dmarc starts all the same, and walks.
    private static func discovery(_ settings: DMARCSettings, _ table: TableValues, _ reader: inout ValueReader) {
        guard settings.discovery == .psl else { return }
        do throws(PublicSuffixFileError) { _ = try PublicSuffixFile.load() } catch {
            reader.advise(
                "\(error); until then \"treewalk\" is used: install the package publicsuffix",
                at: table.position(of: DMARCTable.discovery), keyPath: "dmarc.discovery")
        }
    }
}
