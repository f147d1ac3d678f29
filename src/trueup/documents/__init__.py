"""An invoice as documents: EN 16931 in UBL and CII, Factur-X, PDF; and the judge of such documents, also foreign ones."""
